"""The fixed cast and stage that tests share: one project, and people who may do different things in it."""

import os
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import Client, TransactionTestCase

from annotate.models import Membership, Project, User
from tests import emptying, factories

TransactionTestCase._fixture_teardown = emptying.empty_tables
# Django's own way for tests: how slow a hash must be is not ours to prove, and each costs a quarter of a second.
django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_collection_modifyitems(items):
    """What asks for no database is proved by one run for all of them."""
    for item in items:
        if not item.get_closest_marker("django_db") and not {"db", "transactional_db"} & set(item.fixturenames):
            item.add_marker(pytest.mark.database_free)


@pytest.fixture
def admin(db) -> User:
    return factories.user("ada", is_superuser=True, is_staff=True)


@pytest.fixture
def project(admin) -> Project:
    """“Everyday help”: a preference question on seven points and one optional rating, Helpful."""
    return factories.project(by=admin)


@pytest.fixture
def manager(project) -> User:
    return factories.member(project, "mona", Membership.MANAGER)


@pytest.fixture
def reviewer(project) -> User:
    return factories.member(project, "rita", Membership.REVIEWER)


@pytest.fixture
def annotator(project) -> User:
    return factories.member(project, "mira", Membership.ANNOTATOR)


@pytest.fixture
def second_annotator(project) -> User:
    return factories.member(project, "jonas", Membership.ANNOTATOR)


@pytest.fixture
def outsider(db) -> User:
    """Signed in, but a member of nothing."""
    return factories.user("otto")


@pytest.fixture
def as_user():
    """A client that is signed in as the given user."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def shared_data() -> Path:
    """The folder of real preference data beside the project; without it the test skips, in CI it fails."""
    folder = Path(os.environ.get("PLUMBLINE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "pandalm.jsonl").exists():
        message = f"There is no real preference data at {folder}: set PLUMBLINE_DATA to its folder."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder
