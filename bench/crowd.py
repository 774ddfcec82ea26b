"""A crowd labels over HTTP, and afterwards nothing may be lost, doubled or given to too many.

    DATABASE_URL=postgres://root@127.0.0.1:5432/postgres python -m bench.crowd                # 12 people, 10 seconds
    … python -m bench.crowd --people 200 --seconds 600 --pause 4 --items 20000
    … python -m bench.crowd --people 40 --seconds 60 --pause 0.1 --items 300 --kill 2      # a race under fire

Each annotator behaves as the page does: one item on the screen, one fetched ahead, a submit that carries the key of
its page. Every item wants two people. Ends with 1 if any of the checks fails.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from bench import _stack as stack

DATABASE = "plumbline_bench_crowd"
OVERLAP = 2
SERVER_ERRORS = "answers of the server with 5xx"


def main() -> int:
    options = parse()
    stack.prepare(DATABASE)
    project = fill(options.items)
    cookies = stack.annotators(project, options.people)
    with stack.serving(options.workers, options.threads) as server, trouble(server, options.kill):
        ran = drive(server.address, project.slug, options, cookies)
        requests = server.requests()
    found = checks(project, ran, requests)
    if options.kill:
        del found[SERVER_ERRORS]  # whose connection is killed is told so; what counts is what is left behind
    facts = {
        "people": options.people,
        "submitted": len(ran["keys"]),
        "requests": len(requests),
        "resent": ran["resent"],
        "refused": ran["failures"][:3],
    }
    print(json.dumps({**facts, "checks": found}, indent=2) if options.json else report(facts, found))
    return 0 if all(value == 0 for value in found.values()) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pause", type=float, default=0.3, help="mean seconds between two answers of one person")
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--kill", type=float, default=0, help="every so many seconds a worker and all connections")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def fill(items: int) -> Any:
    """A project whose items all wait for two people."""
    from annotate import importing, projects, queue
    from annotate.models import Item

    project = projects.create_project(name="Crowd", by=None, overlap=OVERLAP)
    answers = [{"messages": "Yes, and here is why."}, {"messages": "No, and here is why not."}]
    rows = ({"id": str(n), "prompt": f"Question {n}?", "responses": answers} for n in range(items))
    importing.take_in(project=project, items=rows)
    queue.open_to_people(item_ids=list(Item.objects.values_list("pk", flat=True)), decision=Item.HUMAN)
    return project


@contextmanager
def trouble(server: stack.Server, every: float) -> Iterator[None]:
    """Kill one of the server's workers (SIGKILL) and all its connections to the database every so many seconds."""
    over = threading.Event()

    def kill() -> None:
        import psycopg

        address = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(scheme="postgresql"))
        with psycopg.connect(address, autocommit=True) as database:
            while not over.wait(every):
                os.kill(random.choice(stack.children(server.pid)), signal.SIGKILL)
                database.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    killer = threading.Thread(target=kill)
    if every:
        killer.start()
    try:
        yield
    finally:
        over.set()
        if every:
            killer.join()


def drive(address: str, slug: str, options: argparse.Namespace, cookies: list[str]) -> dict[str, Any]:
    """All annotators, fifty to a process."""
    from django.db import connection

    connection.close()
    command = [sys.executable, "-m", "bench._annotator", address, slug, str(options.seconds), str(options.pause)]
    crowds = [
        subprocess.Popen([*command, *cookies[start : start + 50]], cwd=stack.ROOT, stdout=subprocess.PIPE, text=True)
        for start in range(0, len(cookies), 50)
    ]
    ran = [json.loads(crowd.communicate()[0]) for crowd in crowds]
    every = {name: [one for part in ran for one in part[name]] for name in ("keys", "failures")}
    return {**every, "resent": sum(part["resent"] for part in ran)}


def checks(project: Any, ran: dict[str, Any], requests: list[tuple[str, int, float, str]]) -> dict[str, int]:
    """What is wrong, by name; 0 everywhere is right."""
    from django.db.models import Count, F, Q

    from annotate import queue, tallies
    from annotate.models import Annotation, Item

    counted = Count("annotations__rater", filter=Q(annotations__counted=True), distinct=True)
    kept = list(Annotation.objects.values_list("idempotency_key", flat=True))
    return {
        "items over their overlap": Item.objects.annotate(n=counted).filter(n__gt=F("overlap")).count(),
        "answers lost": len(set(ran["keys"]) - set(kept)),
        "answers doubled": len(kept) - len(set(kept)),
        "people with two annotations of an item": Annotation.objects.filter(revision__gt=0).count(),
        "items whose open places were wrong": queue.recount(project=project),
        "kept counts that are off": abs(tallies.read(project.pk).get("annotations_human", 0) - len(kept)),
        SERVER_ERRORS: sum(status >= 500 for _, status, _, _ in requests),
    }


def report(facts: dict[str, Any], found: dict[str, int]) -> str:
    done = f"{facts['submitted']:,} answers, {facts['requests']:,} requests, {facts['resent']} sent again"
    lines = [f"{facts['people']} people, {done}"]
    lines += [f"  {name}: {value}" for name, value in found.items()]
    return "\n".join([*lines, *map(str, facts["refused"])])


if __name__ == "__main__":
    sys.exit(main())
