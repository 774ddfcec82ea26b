"""Browser tests run in the system's Chromium: nothing is downloaded for them."""

import os
import shutil
from pathlib import Path

import pytest
from django.test import Client

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
REMEDY = (
    "There is no Chromium on this machine, so the browser tests are left out. To run them: "
    "`sudo apt install chromium` (Debian), `brew install --cask google-chrome` (macOS)."
)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's browser; without one the tests skip, in CI they fail."""
    found = next(filter(None, map(shutil.which, NAMES)), None) or (str(MAC) if MAC.exists() else None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(REMEDY)
        pytest.skip(REMEDY)
    return found


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args, chromium) -> dict:
    return {**browser_type_launch_args, "executable_path": chromium, "args": FLAGS}


@pytest.fixture
def signed_in(context, live_server):
    """Sign a user in to the browser, without the sign-in page."""

    def sign_in(user) -> None:
        client = Client()
        client.force_login(user)
        context.add_cookies(
            [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}]
        )

    return sign_in
