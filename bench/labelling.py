"""Submit and next through the real stack: gunicorn with the production settings on PostgreSQL.

    DATABASE_URL=postgres://root@127.0.0.1:5432/postgres python -m bench.labelling            # 1,000 and 100,000 items
    … python -m bench.labelling --items 1000 1000000 --seconds 60 --json
    … python -m bench.labelling --keep --threads 4             # once more on the database that the last run filled

A database of its own is made, filled by bulk SQL (each item with two answers, three annotations by people before, a
label, and room for eight more), and dropped when the next run begins. Eight clients in a process of their own submit
as fast as they can, each with the next item fetched ahead, as the page does. CPU is what gunicorn's processes used,
and PostgreSQL's for this database apart from it; "in the request" is gunicorn's own time of a request, waiting for a
worker excluded.
"""

import argparse
import json
import re
import secrets
import statistics
import subprocess
import sys
from typing import Any

from bench import _stack as stack

DATABASE = "plumbline_bench_labelling"
PAST = 3  # annotations that each item has before
OPEN = 8  # people that each item still waits for
WARM = 2  # seconds of warming up
PACKED = {"Accept-Encoding": "gzip"}

ITEMS = """
INSERT INTO annotate_item (project_id, external_id, title, prompt, prompt_hash, content_hash, tags, metadata, state,
    route, priority, overlap, slots_open, is_sample, created_at{more})
SELECT %(project)s, 'item-' || n, 'Question ' || n,
    jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'Question ' || n || '. ' || %(ask)s::text)),
    md5(n::text), md5('c' || n), '[]', '{{}}', 'open', 'human', (n %% 97)::float, %(overlap)s, %(open)s,
    false, now(){values}
FROM generate_series(1, %(items)s) n
"""
RESPONSES = """
INSERT INTO annotate_response (item_id, position, model, author, messages, words, metadata)
SELECT item.id, place, 'model-' || place, '',
    jsonb_build_array(jsonb_build_object(
        'role', 'assistant', 'content', item.title || ' ' || place || '. ' || %(say)s::text)),
    120, '{}'
FROM annotate_item item, generate_series(0, 1) place
"""
ASSIGNMENTS = """
INSERT INTO annotate_assignment (item_id, rater_id, state, "order", leased_at, expires_at, finished_at, draft,
    active_seconds, skip_reason)
SELECT item.id, rater.id, 'submitted', '[0, 1]', now(), now(), now() - interval '2 days', '{}', 30, ''
FROM annotate_item item, generate_series(0, %(past)s - 1) k
JOIN LATERAL (SELECT (%(raters)s::int[])[1 + (item.id + k) %% %(people)s] AS id) rater ON true
"""
ANNOTATIONS = """
INSERT INTO annotate_annotation (item_id, rater_id, "order", order_key, answers, reason, reference, seconds, counted,
    guideline_version, rubric_version, revision, metadata, submitted_at)
SELECT item_id, rater_id, "order", '0-1',
    jsonb_build_object('preference', jsonb_build_object(
        'choice', (ARRAY['a', 'b'])[1 + (item_id + rater_id) %% 2], 'strength', 1)),
    'because', '', 30, true, 1, 1, 0, '{}', finished_at
FROM annotate_assignment
"""
LABELS = """
INSERT INTO annotate_label (item_id, question_id, value, probability, distribution, strength, votes, method,
    decided_by, updated_at{more})
SELECT id, %(question)s, '"a"', 0.6, '{{"a": 0.5, "b": 0.3, "tie": 0.1, "both_bad": 0.1}}', 1, %(past)s,
    'majority', 'human', now(){values}
FROM annotate_item
"""
CHANGES = """
INSERT INTO annotate_change (project_id, kind, item_id, annotation_id, created_at)
SELECT %(project)s, 'submitted', item_id, id, submitted_at FROM annotate_annotation
"""
ASK = "Somebody asks how to keep bread fresh for a week without a freezer, and wants to know *why* it goes stale. " * 2
SAY = (
    "Keep it in a cloth bag, cut side down.\n\n- **Starch** turns back into crystals.\n- Cold makes it faster.\n\n"
    + ("So the refrigerator is the worst place: it is cold, but not cold enough to stop the water from moving. " * 5)
)


def main() -> int:
    options = parse()
    if len(options.items) > 1 and not options.keep:
        results = [row for items in options.items for row in apart(items)]
    else:
        stack.prepare(DATABASE, keep=options.keep)
        results = [measure(options.items[-1], options)]
    print(json.dumps(results, indent=2) if options.json else table(results))
    return 0


def apart(items: int) -> list[dict[str, Any]]:
    """One size in a process of its own, since Django's settings hold for a process; the last --items counts."""
    command = [sys.executable, "-m", "bench.labelling", *sys.argv[1:], "--json", "--items", str(items)]
    return json.loads(subprocess.run(command, cwd=stack.ROOT, check=True, stdout=subprocess.PIPE).stdout)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[1000, 100_000], help="databases to fill, by size")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="measure on the database that the run before filled")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def not_null(cursor: Any, table: str, named: str) -> tuple[str, str]:
    """Columns of a table that need a value and that the statement does not name, with Django's usual empty ones."""
    cursor.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s "
        "AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'",
        [table],
    )
    empty = {"jsonb": "'{}'", "boolean": "false", "character varying": "''", "text": "''"}
    left = [(name, empty.get(kind, "0")) for name, kind in cursor.fetchall() if not re.search(rf"\b{name}\b", named)]
    return "".join(f", {name}" for name, _ in left), "".join(f", {value}" for _, value in left)


def fill(items: int) -> Any:
    """The project with its items and their past, by a few statements."""
    from django.db import connection

    from annotate import projects, tallies
    from annotate.models import Question, Rater

    project = projects.create_project(name="Bench", by=None)
    raters = [Rater.objects.create(project=project, kind="human", name=f"past-{n}").pk for n in range(50)]
    values = {
        "project": project.pk, "items": items, "overlap": PAST + OPEN, "open": OPEN, "past": PAST, "ask": ASK,
        "say": SAY, "raters": raters, "people": len(raters),
        "question": Question.objects.get(project=project, name="preference").pk,
    }  # fmt: skip
    with connection.cursor() as cursor:
        for statement, table in (
            (ITEMS, "annotate_item"), (RESPONSES, ""), (ASSIGNMENTS, ""), (ANNOTATIONS, ""),
            (LABELS, "annotate_label"), (CHANGES, ""),
        ):  # fmt: skip
            if table:
                more, empty = not_null(cursor, table, statement)
                statement = statement.format(more=more, values=empty)
            cursor.execute(statement, values)
        cursor.execute("VACUUM ANALYZE")
    counts = {tallies.ITEMS: items, tallies.ANNOTATIONS["human"]: items * PAST, tallies.ROUTED["human"]: items}
    tallies.add(project_id=project.pk, counts=counts)
    return project


def measure(items: int, options: argparse.Namespace) -> dict[str, Any]:
    from django.db import connection

    from annotate import tallies
    from annotate.models import Project

    project = Project.objects.get() if options.keep else fill(items)
    items = tallies.read(project.pk)[tallies.ITEMS]
    cookies = stack.annotators(project, options.clients + 2)
    page = page_facts(project, cookies[-1])
    connection.close()
    with stack.serving(options.workers, options.threads) as server:
        page["kB"] = over_the_wire(server.address, project.slug, cookies[-2])
        drive(server.address, project.slug, WARM, cookies[: options.clients])
        before, cpu, database = len(server.requests()), server.cpu(), stack.database_cpu(DATABASE)
        ran = drive(server.address, project.slug, options.seconds, cookies[: options.clients])
        cpu, database = server.cpu() - cpu, stack.database_cpu(DATABASE) - database
        submits = [row for row in server.requests()[before:] if row[0] == "POST" and row[3].endswith("/submit/")]
    inside = sorted(row[2] for row in submits)
    return {
        "items": items,
        "annotations": items * PAST,
        "clients": options.clients,
        "submissions": len(submits),
        "failures": ran["failures"][:5],
        "rate": len(submits) / ran["seconds"],
        "cpu_ms": 1000 * cpu / max(len(submits), 1),
        "database_cpu_ms": 1000 * database / max(len(submits), 1),
        "p50_ms": statistics.median(inside),
        "p95_ms": inside[int(len(inside) * 0.95)],
        **page,
    }


def drive(address: str, slug: str, seconds: float, cookies: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench._annotator", address, slug, str(seconds), "0", *cookies]
    done = subprocess.run(command, cwd=stack.ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def page_facts(project: Any, cookie: str) -> dict[str, Any]:
    """Statements of the workbench's page (with a fresh lease) and of a submit that brings the one after the next."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext
    from django.urls import reverse

    from annotate import queue, rubrics
    from annotate.models import Assignment, User

    user = User.objects.order_by("-pk")[0]
    queue.rater_for(user=user, project=project)  # made once, at somebody's first visit
    rubrics.questions_of(project)  # read once by each process
    client = Client(headers={"host": "127.0.0.1"})
    client.cookies["sessionid"] = cookie
    home = reverse("label", args=[project.slug])
    client.get(reverse("home"))
    with CaptureQueriesContext(connection) as page:
        client.get(home)
    leased = Assignment.objects.get(state=Assignment.LEASED, rater__user=user)
    ahead = client.get(reverse("label_ahead", args=[project.slug]), {"on": leased.pk}, headers={"HX-Request": "true"})
    fields = {"answer-preference": "2", "key": secrets.token_hex(16), "ahead": ahead["X-Ahead"]}
    with CaptureQueriesContext(connection) as submit:
        url = reverse("label_submit", args=[project.slug, leased.pk])
        assert client.post(url, fields, headers={"HX-Request": "true"}).status_code == 200
    return {"page_statements": statements(page), "submit_statements": statements(submit)}


def statements(captured: Any) -> int:
    control = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    return len([query for query in captured if not query["sql"].startswith(control)])


def over_the_wire(address: str, slug: str, cookie: str) -> float:
    """kB of the page and of every stylesheet and script that it loads, as a first visit transfers them."""
    import httpx

    with httpx.Client(base_url=address, cookies={"sessionid": cookie}, headers=PACKED, timeout=60) as client:
        page = client.get(f"/p/{slug}/label/")
        total, seen, todo = page.num_bytes_downloaded, set(), re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
        while todo:
            path = todo.pop()
            if path in seen:
                continue
            seen.add(path)
            file = client.get(path)
            total += file.num_bytes_downloaded
            folder = path.rpartition("/")[0]
            todo += [f"{folder}/{name}" for name in re.findall(r'from ?"\./([^"]+)"', file.text)]
    return total / 1000


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| items | annotations | submits/s | CPU ms: server, PostgreSQL | p50 ms | p95 ms "
        "| statements: page, submit | page kB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in results:
        lines.append(
            f"| {row['items']:,} | {row['annotations']:,} | {row['rate']:.1f} "
            f"| {row['cpu_ms']:.1f}, {row['database_cpu_ms']:.1f} | {row['p50_ms']:.1f} | {row['p95_ms']:.1f} "
            f"| {row['page_statements']}, {row['submit_statements']} "
            f"| {row['kB']:.1f} |"
        )
    failures = sorted({failure for row in results for failure in row["failures"]})
    return "\n".join([*lines, *(["", "Failures:", *failures] if failures else [])])


if __name__ == "__main__":
    sys.exit(main())
