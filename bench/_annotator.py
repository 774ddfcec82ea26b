"""One simulated annotator over HTTP: opens the workbench, fetches ahead, submits, and goes on with what it has.

Run as a process of its own by the benchmarks: `python -m bench._annotator ADDRESS SLUG SECONDS PAUSE COOKIE …`, one
thread a cookie; prints one JSON object. PAUSE is the mean time between two submits, in seconds; 0 is none.
"""

import json
import random
import re
import sys
import threading
import time
from typing import Any

import httpx

FORM = re.compile(r'<form id="answer" method="post" action="([^"]+)"')
KEY = re.compile(r'name="key" value="(\w+)"')
WAITS = (0.0, 0.2, 1.0, 3.0)  # seconds before something is sent again
ASSIGNMENT = re.compile(r'data-assignment="(\d+)"')


class Annotator:
    """Holds what the page holds: the item on the screen and the one fetched ahead, each as its region's text."""

    def __init__(self, address: str, slug: str, cookie: str) -> None:
        self.client = httpx.Client(base_url=address, cookies={"sessionid": cookie}, timeout=60)
        self.home = f"/p/{slug}/label/"
        self.sent: list[str] = []  # the keys of the answers that the server said it has
        self.latencies: list[float] = []
        self.failures: list[str] = []
        self.resent = 0

    def request(self, method: str, address: str, **options: Any) -> httpx.Response:
        """As the page does: what was cut off, or met a server in trouble, is sent again as it was."""
        for wait in WAITS:
            try:
                came = self.client.request(method, address, **options)
                if came.status_code < 500:
                    return came
            except httpx.TransportError:
                pass
            self.resent += 1
            time.sleep(wait)
        return self.client.request(method, address, **options)

    def open(self) -> str | None:
        page = self.request("GET", self.home).text
        return page if FORM.search(page) else None

    def headers(self) -> dict[str, str]:
        return {"HX-Request": "true", "X-CSRFToken": self.client.cookies["csrftoken"], "Accept-Encoding": "gzip"}

    def fetch_ahead(self, on: str) -> str | None:
        came = self.request("GET", f"{self.home}ahead/", params={"on": on}, headers=self.headers())
        return came.text if came.headers.get("X-Ahead") else None

    def submit(self, page: str, ahead: str | None) -> str | None:
        """Answer the item on `page` while `ahead` is shown already; returns the region that the server sends."""
        fields = {
            "answer-preference": str(random.randint(1, 7)), "key": KEY.search(page).group(1), "seconds": "12.0",
            "reason": "clearer", "answer-helpful-0": "4", "answer-helpful-1": "2",
            "ahead": ASSIGNMENT.search(ahead).group(1) if ahead else "",
        }  # fmt: skip
        began = time.perf_counter()
        came = self.request("POST", FORM.search(page).group(1), data=fields, headers=self.headers())
        self.latencies.append(time.perf_counter() - began)
        if came.status_code != 200:
            self.failures.append(f"{came.status_code} {came.text[:200]}")
            return None
        self.sent.append(fields["key"])
        return came.text if FORM.search(came.text) else None

    def work(self, until: float, pause: float) -> None:
        page = self.open()
        ahead = page and self.fetch_ahead(ASSIGNMENT.search(page).group(1))
        while page and time.time() < until and len(self.failures) < 20:
            came = self.submit(page, ahead)
            page, ahead = (ahead, came) if ahead else (came, None)
            page = page or self.open()
            if pause:
                time.sleep(random.expovariate(1 / pause))


def main() -> None:
    address, slug, seconds, pause, *cookies = sys.argv[1:]
    people = [Annotator(address, slug, cookie) for cookie in cookies]
    until = time.time() + float(seconds)
    threads = [threading.Thread(target=person.work, args=(until, float(pause))) for person in people]
    began = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(
        json.dumps(
            {
                "seconds": time.time() - began,
                "keys": [key for person in people for key in person.sent],
                "latencies": [value for person in people for value in person.latencies],
                "resent": sum(person.resent for person in people),
                "failures": [failure for person in people for failure in person.failures],
            }
        )
    )


if __name__ == "__main__":
    main()
