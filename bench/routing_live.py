"""How long the live router takes on the tables: a pass over all items after a new fit, and one new item.

DATABASE_URL=postgres://… python -m bench.routing_live [--items 100000] [--labels 500] [--one 200]

Makes a project of its own in the database that the settings name, which should be one to throw away: so many pairs
with a judge's verdict and the numbers that are kept of them, most prompts with one pair and a fifth with eight, and
people's answers on some. Measured are one item of a prompt with eight pairs, from its texts and votes to its place in
the ranking; the pass that brings every belief, prior and label up to a fit for the first time; the same pass again,
where nothing moves; and the first decision about as many new items (`route_items`), with the largest memory so far.
"""

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import django
import numpy as np

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("PLUMBLINE_DEV", "1")
django.setup()

from annotate.models import Annotation, Item, Project, Rater, Response, User  # noqa: E402
from annotate.projects import create_project  # noqa: E402
from annotate.submitting import ImportedAnnotation, record_imported  # noqa: E402
from pipeline.models import Belief, RoutingState  # noqa: E402
from pipeline.routing import adopting, deciding  # noqa: E402
from pipeline.routing.believing import fits, following, layouts  # noqa: E402
from pipeline.routing.choosing.plans import Plan  # noqa: E402

AT_ONCE = 5000
SIBLINGS, TEXTS = 8, 200  # pairs of a shared prompt; items that have texts
WORDS = 120  # of a response


def text(rng: np.random.Generator) -> str:
    return " ".join(f"word{n}" for n in rng.integers(0, 900, WORDS))


def items_of(project: Project, numbers: Sequence[int], **fields: Any) -> list[Item]:
    """Items whose prompts are shared by SIBLINGS pairs in the first fifth."""
    return [
        Item(
            project=project, external_id=f"{fields.get('route', '')}{n}", title=f"Question {n}",
            prompt=[{"role": "user", "content": f"Question {n // SIBLINGS if n % 5 == 0 else n}"}],
            prompt_hash=f"{n // (5 * SIBLINGS) if n % 5 == 0 else n:064d}", content_hash=f"{n:064d}",
            overlap=0, slots_open=0, **fields,
        )
        for n in numbers
    ]  # fmt: skip


def furnished(project: Project, items: int, labels: int, rng: np.random.Generator) -> layouts.Layout:
    """Some items with texts, answered by judge and people, from which the layout is; the rest with made-up numbers."""
    judge = Rater.objects.create(project=project, kind=Rater.JUDGE, name="judge")
    person = Rater.objects.create(project=project, kind=Rater.HUMAN, name="mira")
    made = Item.objects.bulk_create(items_of(project, range(TEXTS), route=Item.JUDGE))
    Response.objects.bulk_create(
        Response(
            item=item, position=place, model=f"model-{place}", messages=[{"role": "assistant", "content": text(rng)}]
        )
        for item in made
        for place in range(2)
    )
    record_imported(project=project, rows=[said(item, judge, rng) for item in made])
    record_imported(project=project, rows=[said(item, person, rng) for item in made[: TEXTS // 4]])
    question = following.question_of(project)
    layout = layouts.made(project, question, 1)
    RoutingState.objects.update_or_create(project=project, defaults={"layout": layout.as_json()})
    width = layout.width + 1 + 2
    for start in range(TEXTS, items, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, items))
        made = Item.objects.bulk_create(items_of(project, numbers, route=Item.JUDGE))
        rows = [said(item, judge, rng) for item in made]
        Annotation.objects.bulk_create(annotation(row) for row in rows)
        answered = made if start == TEXTS and len(made) <= labels else made[: max(0, labels - (start - TEXTS))]
        Annotation.objects.bulk_create(annotation(said(item, person, rng)) for item in answered)
        people = {item.pk for item in answered}
        numbers_of = rng.standard_normal((len(made), width), dtype=np.float32)
        numbers_of[:, layout.width] = 0.0
        Belief.objects.bulk_create(
            Belief(
                item=item, project=project, layout=1, columns=numbers_of[row].tobytes(), kin=item.pk, judge_says=1,
                votes=[0, 1.0, 0] if item.pk in people else [0.0, 0.0, 0.0], people=int(item.pk in people),
            )
            for row, item in enumerate(made)
        )  # fmt: skip
    return layout


def said(item: Item, rater: Rater, rng: np.random.Generator) -> ImportedAnnotation:
    return ImportedAnnotation(item.pk, rater, [0, 1], {"preference": {"choice": "ab"[int(rng.integers(2))]}})


def annotation(row: ImportedAnnotation) -> Annotation:
    return Annotation(item_id=row.item_id, rater=row.rater, order=row.order, order_key="0-1", answers=row.answers)


def timed(words: str, items: int, act: Callable[[], Any]) -> None:
    began = time.perf_counter()
    act()
    took = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{words}: {took:.1f} s, {items / took:,.0f} a second; largest memory so far {memory:.2f} GiB", flush=True)


def whole_pass(project: Project, layout: layouts.Layout) -> None:
    question, plan = following.question_of(project), adopting.in_force(project).plan
    state = RoutingState.objects.get(project=project)
    following.keep(state, pass_after=0)
    while state.pass_after is not None:
        following.step(project, question, plan, state, layout)


def one_by_one(project: Project, layout: layouts.Layout, count: int) -> None:
    """Items of prompts with several pairs, read again as if they had just been answered."""
    question, plan = following.question_of(project), adopting.in_force(project).plan
    shared = list(Item.objects.filter(project=project, pk__in=Response.objects.values("item")).order_by("pk")[::5])
    taken = []
    for place in range(count):
        began = time.perf_counter()
        following.read_items(project, question, plan, layout, [shared[place % len(shared)].pk])
        taken.append(1000 * (time.perf_counter() - began))
    taken = sorted(taken[len(taken) // 10 :])
    print(
        f"one item of a prompt with {SIBLINGS} pairs: median {statistics.median(taken):.1f} ms, "
        f"90% below {taken[int(0.9 * len(taken))]:.1f} ms, 95% below {taken[int(0.95 * len(taken))]:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--one", type=int, default=200)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    by, _ = User.objects.get_or_create(username="bench")
    project = create_project(name=f"bench of routing {time.time():.0f}", by=by)
    adopting.adopt(project=project, plan=Plan(), by=by)
    timed("made", options.items, lambda: furnished(project, options.items, options.labels, rng))
    layout = layouts.layout_from(RoutingState.objects.get(project=project).layout)
    question = following.question_of(project)
    following.read_items(project, question, Plan(), layout, list(project.items.values_list("pk", flat=True)[:TEXTS]))
    timed("fitted", options.labels, lambda: fits.fit(project, question, layout))
    one_by_one(project, layout, options.one)
    timed("a pass after a new fit", options.items, lambda: whole_pass(project, layout))
    timed("the same where nothing moved", options.items, lambda: whole_pass(project, layout))
    new = items_of(project, range(options.items, 2 * options.items))
    for start in range(0, len(new), AT_ONCE):
        Item.objects.bulk_create(new[start : start + AT_ONCE])
    timed("new items routed first", options.items, lambda: deciding.route_items(project=project))


if __name__ == "__main__":
    main()
