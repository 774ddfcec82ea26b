"""Browser tests run in the system's Chromium: nothing is downloaded for them."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from django.core.servers.basehttp import WSGIRequestHandler
from django.test import Client

# The test server writes head and body apart, and Nagle's algorithm would hold the body back for 40 ms each time.
WSGIRequestHandler.disable_nagle_algorithm = True
NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
REMEDY = (
    "There is no Chromium on this machine, so the browser tests are left out. To run them: "
    "`sudo apt install chromium` (Debian), `brew install --cask google-chrome` (macOS)."
)


def browser_path() -> str | None:
    """The system's browser, if it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None) or (str(MAC) if MAC.exists() else None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's browser; without one the tests skip, in CI they fail."""
    found = browser_path()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(REMEDY)
        pytest.skip(REMEDY)
    return found


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args, chromium) -> dict:
    return {**browser_type_launch_args, "executable_path": chromium, "args": FLAGS}


@pytest.fixture(autouse=True)
def served_to_its_end(request):
    """Leave the database alone until the server has answered what the page asked last: pages fetch ahead.

    Closing the browser's windows closes their connections; the server's threads end when they have answered.
    """
    if not {"browser", "live_server"} <= set(request.fixturenames):
        yield
        return
    request.getfixturevalue("live_server")  # and with it the database: this ends before both
    yield
    for context in request.getfixturevalue("browser").contexts:
        context.close()
    deadline = time.monotonic() + 20
    while any("process_request" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the server is still answering"
        time.sleep(0.02)


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
