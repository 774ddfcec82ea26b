"""When the workbench first paints: Chromium on loopback, gunicorn with the production settings on PostgreSQL.

    DATABASE_URL=postgres://root@127.0.0.1:5432/postgres python -m bench.painting
    … python -m bench.painting --visits 30 --json

Each first visit is a browser window with empty caches, each later one a reload in the same window; before the first
that counts, as many are made that do not, so that the server and the browser have started. The time is the browser's
own from the beginning of the navigation to the first text or picture (W3C Paint Timing, `first-contentful-paint`).
"""

import argparse
import json
import statistics
import sys
from typing import Any

from bench import _stack as stack

DATABASE = "plumbline_bench_painting"
LATER = 3  # reloads in each window
PAINTED = """() => new Promise(done => new PerformanceObserver(list => {
    const found = list.getEntriesByName("first-contentful-paint")[0];
    if (found) done(found.startTime);
}).observe({type: "paint", buffered: true}))"""


def main() -> int:
    options = parse()
    stack.prepare(DATABASE)
    project, cookies = fill(options.visits)
    with stack.serving(options.workers, options.threads) as server:
        visit(f"{server.address}/p/{project}/label/", cookies)
        first, later = visit(f"{server.address}/p/{project}/label/", cookies)
    result = {"visits": len(first), "first_visit_ms": facts(first), "later_visit_ms": facts(later)}
    print(json.dumps(result, indent=2) if options.json else report(result))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def fill(people: int) -> tuple[str, list[str]]:
    """A project with twenty items for so many annotators; its slug and their cookies."""
    from django.db import connection

    from annotate import importing, projects, queue
    from annotate.models import Item
    from bench.labelling import ASK, SAY

    project = projects.create_project(name="Paint", by=None, overlap=people)
    rows = (
        {"id": str(n), "prompt": ASK, "responses": [{"messages": f"{n} {side}. {SAY}"} for side in "ab"]}
        for n in range(20)
    )
    importing.take_in(project=project, items=rows)
    queue.open_to_people(item_ids=list(Item.objects.values_list("pk", flat=True)), decision=Item.HUMAN)
    cookies = stack.annotators(project, people)
    connection.close()
    return project.slug, cookies


def visit(page_url: str, cookies: list[str]) -> tuple[list[float], list[float]]:
    """Milliseconds to the first paint: of each person's first visit, and of their later ones."""
    from playwright.sync_api import sync_playwright

    from tests.e2e.conftest import FLAGS, browser_path

    first, later = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path(), args=FLAGS)
        for cookie in cookies:
            context = browser.new_context()
            context.add_cookies([{"name": "sessionid", "value": cookie, "url": page_url}])
            page = context.new_page()
            page.goto(page_url)
            first.append(page.evaluate(PAINTED))
            for _ in range(LATER):
                page.reload()
                later.append(page.evaluate(PAINTED))
            context.close()
        browser.close()
    return first, later


def facts(times: list[float]) -> dict[str, float]:
    return {"median": statistics.median(times), "worst": max(times)}


def report(result: dict[str, Any]) -> str:
    rows = (("first visit", result["first_visit_ms"]), ("later visits", result["later_visit_ms"]))
    return "\n".join(f"{name}: {row['median']:.0f} ms (worst {row['worst']:.0f})" for name, row in rows)


if __name__ == "__main__":
    sys.exit(main())
