"""What browser tests wait for before they look at the database: the page goes on before its answer has arrived."""

import pytest
from playwright.sync_api import Page


def arrived(page: Page) -> None:
    """Nothing that was submitted waits in the browser any more."""
    for _ in range(500):
        if not page.evaluate("Object.keys(localStorage).some((name) => name.includes(':answer:'))"):
            return
        page.wait_for_timeout(20)
    pytest.fail("an answer still waits in the browser")


def fetched_ahead(page: Page) -> None:
    """The next item is in the browser already."""
    page.wait_for_load_state("networkidle")
