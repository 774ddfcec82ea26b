"""Settings come from the environment; what is missing or wrong stops the start with a sentence."""

import pytest

from config import env

LONG = "x" * 50
pytestmark = pytest.mark.database_free


@pytest.fixture
def clean(monkeypatch):
    for name in (
        "PLUMBLINE_DEV",
        "PLUMBLINE_DEBUG",
        "SECRET_KEY",
        "ALLOWED_HOSTS",
        "DATABASE_URL",
        "CELERY_BROKER_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "SECRET_KEY is missing"),
        ({"SECRET_KEY": "short", "ALLOWED_HOSTS": "x"}, "SECRET_KEY is missing or shorter"),
        ({"SECRET_KEY": LONG}, "ALLOWED_HOSTS is missing"),
        ({"PLUMBLINE_DEV": "maybe"}, "PLUMBLINE_DEV is 'maybe': set it to 1 or 0"),
        ({"PLUMBLINE_DEV": "1", "DATABASE_URL": "mysql://x"}, "DATABASE_URL starts with 'mysql'"),
        ({"PLUMBLINE_DEV": "1", "CELERY_BROKER_URL": "nats://x"}, "CELERY_BROKER_URL starts with 'nats'"),
    ],
)
def test_a_start_that_cannot_work_says_what_to_set(clean, variables, message):
    for name, value in variables.items():
        clean.setenv(name, value)
    with pytest.raises(env.SettingError, match=message):
        env.read()


def test_production_is_the_default(clean):
    clean.setenv("SECRET_KEY", LONG)
    clean.setenv("ALLOWED_HOSTS", "a.example.org, b.example.org")
    read = env.read()
    assert (read.dev, read.debug, read.https) == (False, False, True)
    assert read.allowed_hosts == ["a.example.org", "b.example.org"]


def test_development_needs_nothing_and_still_hides_debug_pages(clean):
    clean.setenv("PLUMBLINE_DEV", "1")
    read = env.read()
    assert read.debug is False
    assert read.database_url.startswith("sqlite:///")
    assert read.broker_url == "filesystem://localhost"
