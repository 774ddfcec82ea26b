"""The only reader of the environment: every variable Plumbline knows, checked when it is read.

A value that cannot be used stops the start with one sentence that names the variable and the remedy.
docs/reference/settings.md lists the same variables for users.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

BASE = Path(__file__).resolve().parent.parent
TRUE, FALSE = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
DATABASE_SCHEMES = {"sqlite", "postgres", "postgresql"}
BROKER_SCHEMES = {"filesystem", "redis", "rediss", "amqp", "amqps"}


class SettingError(Exception):
    """A variable is missing or cannot be used; the message says which, and what to set."""


@dataclass(frozen=True)
class Environment:
    """What the process was told from outside. Paths are absolute; URLs keep their scheme."""

    dev: bool
    debug: bool
    secret_key: str
    allowed_hosts: list[str]
    trusted_origins: list[str]
    https: bool
    behind_proxy: bool
    var: Path
    database_url: str
    broker_url: str
    artifacts_url: str
    demo_model: Path
    email_url: str
    email_from: str
    site_url: str
    time_zone: str
    log_level: str
    judge_search: str


def flag(name: str, default: bool = False) -> bool:
    """A yes-or-no variable; raises SettingError for anything that is neither."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    if raw.strip().lower() in TRUE:
        return True
    if raw.strip().lower() in FALSE:
        return False
    raise SettingError(f"{name} is {raw!r}: set it to 1 or 0.")


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated variable as a list without blanks."""
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


def url(name: str, default: str, schemes: set[str]) -> str:
    """A URL whose scheme is one of `schemes`; raises SettingError otherwise."""
    value = os.environ.get(name) or default
    if urlsplit(value).scheme not in schemes:
        raise SettingError(
            f"{name} starts with {urlsplit(value).scheme or value!r}: use one of {', '.join(sorted(schemes))}."
        )
    return value


def secret_key(dev: bool) -> str:
    """The signing key. Production refuses to start without a long one; development may go without."""
    key = os.environ.get("SECRET_KEY", "")
    if key == "" and dev:
        return "plumbline-development-only-key-never-used-in-production"
    if len(key) < 32:
        raise SettingError(
            "SECRET_KEY is missing or shorter than 32 characters: set it to a long random text, "
            'for one from `python -c "import secrets; print(secrets.token_urlsafe(50))"`. '
            "For a try-out on your own machine use `make run`."
        )
    return key


def allowed_hosts(dev: bool) -> list[str]:
    """Host names the site answers to; production must name them."""
    hosts = words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],testserver" if dev else "")
    if not hosts:
        raise SettingError("ALLOWED_HOSTS is missing: set it to the site's host names, separated by commas.")
    return hosts


def read() -> Environment:
    """Read and check everything. Production unless PLUMBLINE_DEV=1."""
    dev = flag("PLUMBLINE_DEV")
    var = Path(os.environ.get("PLUMBLINE_VAR") or BASE / "var").absolute()
    return Environment(
        dev=dev,
        debug=flag("PLUMBLINE_DEBUG"),
        secret_key=secret_key(dev),
        allowed_hosts=allowed_hosts(dev),
        trusted_origins=words("CSRF_TRUSTED_ORIGINS"),
        https=flag("PLUMBLINE_HTTPS", default=not dev),
        behind_proxy=flag("PLUMBLINE_BEHIND_PROXY"),
        var=var,
        database_url=url("DATABASE_URL", f"sqlite:///{var / 'plumbline.sqlite3'}", DATABASE_SCHEMES),
        broker_url=url("CELERY_BROKER_URL", "filesystem://localhost", BROKER_SCHEMES),
        artifacts_url=os.environ.get("ARTIFACTS_URL") or str(var / "artifacts"),
        demo_model=Path(os.environ.get("PLUMBLINE_DEMO_MODEL") or var / "models" / "smollm2-135m-instruct").absolute(),
        email_url=url("EMAIL_URL", "console:" if dev else "smtp://localhost:25", {"console", "smtp", "smtps"}),
        email_from=os.environ.get("EMAIL_FROM", "Plumbline <plumbline@localhost>"),
        site_url=os.environ.get("SITE_URL", "http://localhost:8000").rstrip("/"),
        time_zone=os.environ.get("TIME_ZONE", "UTC"),
        log_level=os.environ.get("LOG_LEVEL", "INFO").upper(),
        judge_search=os.environ.get("JUDGE_SEARCH", ""),
    )
