"""Let people decide where a judge could be fooled by a response without content: before the judge is asked.

An item that was routed to the judge alone and holds an empty response, only symbols, or a bare opener goes to both:
the judge is asked, and people outvote it.
"""

from collections import defaultdict
from collections.abc import Sequence

from django.db import transaction

from annotate import slots
from annotate.models import Item, Project, Response
from annotate.questions import text_of
from pipeline.models import Route
from pipeline.quality import guarding
from pipeline.routing import budgets, deciding
from pipeline.routing.adopting import in_force
from pipeline.routing.choosing.opening import Choice

NAME, VERSION = "guard", "1"
WORDS = {
    guarding.EMPTY: "is empty",
    guarding.SYMBOLS: "is only symbols",
    guarding.OPENER: "is an opener with nothing after it",
    guarding.ONE_WORD: "is one word",
}


def let_people_decide(item_ids: Sequence[int]) -> int:
    """Send those of these items to people too that a judge must not decide alone; returns how many."""
    sent = 0
    for batch in slots.batches(item_ids):
        alone = list(Item.objects.filter(pk__in=batch, route=Item.JUDGE).values_list("pk", flat=True))
        reasons = reasons_of(alone)
        if reasons:
            keep(reasons)
            sent += len(reasons)
    return sent


def reasons_of(item_ids: Sequence[int]) -> dict[int, str]:
    """Item → why a judge must not decide it alone, for those where that is so."""
    texts: dict[int, list[str]] = defaultdict(list)
    rows = Response.objects.filter(item__in=item_ids).order_by("item", "position")
    for item, messages in rows.values_list("item_id", "messages"):
        texts[item].append(text_of(messages))
    found = {}
    for item, of_item in texts.items():
        flaws = guarding.flaws(of_item)
        place = next((place for place, flaw in enumerate(flaws) if flaw), None)
        if place is not None:
            found[item] = f"Response {chr(65 + place)} {WORDS[flaws[place]]}: no judge decides that alone."
    return found


@transaction.atomic
def keep(reasons: dict[int, str]) -> None:
    """Keep and carry out the decisions, as far as the project's budget of people's answers goes."""
    for item_ids in by_project(list(reasons)).values():
        project = Project.objects.get(items=item_ids[0])
        policy = in_force(project)
        state = budgets.held(project) if policy.number else None
        decided = [
            deciding.afford(
                deciding.Decided(pk, Choice(Route.BOTH, NAME, reasons[pk], {Route.BOTH: 1.0})),
                project.overlap,
                state,
                policy,
            )
            for pk in item_ids
        ]
        deciding.keep(decided, VERSION)
        deciding.carry_out(decided)
        if state is not None:
            for each in decided:
                budgets.count(state, NAME, each.cost)
            budgets.keep(state)


def by_project(item_ids: list[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for pk, project in Item.objects.filter(pk__in=item_ids).order_by("pk").values_list("pk", "project"):
        found[project].append(pk)
    return found
