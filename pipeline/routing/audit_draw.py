"""Ask a judge about items that people have labelled already, drawn by lot: the quick way to measure it.

Each item drawn gets a Route to both with its propensity, so that whoever learns from audits knows how it was chosen.
Nobody is asked anything more: an item keeps as many places as people have answered.
"""

import hashlib

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet

from annotate import audit
from annotate.managing import curating
from annotate.models import Annotation, Item, Project, Rater, User
from annotate.queue import open_to_people
from annotate.slots import counted_by_people
from pipeline.models import Judge, Route
from pipeline.routing import deciding, fixed_share, guard
from pipeline.routing.choosing import opening
from pipeline.routing.choosing.opening import Choice

NAME, VERSION = "audit_draw", "1"
# What decides about an item before any judge has said anything about it: a certain decision of these is no choice of
# what looked wrong.
OPENING = (NAME, guard.NAME, fixed_share.NAME, opening.AUDIT, opening.RULE, opening.EXPLORE, opening.ALONE)
MOST = 2000  # items in one draw
BATCH = 500


def candidates(project: Project, rater: Rater) -> QuerySet[Item]:
    """The project's pairs that people have labelled and this judge has not, in the words that it has now.

    With another prompt a judge is another evaluator, whose worth nobody knows: it can be asked about all of them.
    """
    answered = Annotation.objects.filter(item=OuterRef("pk"), rater=rater)
    judge = Judge.objects.filter(rater=rater).first()
    if judge is not None:
        answered = answered.filter(metadata__prompt_version=judge.prompt_version)
    return labelled(project).filter(~Exists(answered))


def labelled(project: Project) -> QuerySet[Item]:
    """The project's pairs that people have labelled, without those that a policy chose for them."""
    people = counted_by_people().filter(item=OuterRef("pk"))
    pairs = Item.objects.annotate(answers=Count("responses")).filter(answers=2)
    mine = pairs.filter(Exists(people), project=project, state__in=[Item.OPEN, Item.LABELLED])
    # What people were asked about because it looked hard for one judge is no fair sample for another.
    chosen = Route.objects.filter(item=OuterRef("pk"), propensity=1.0).exclude(policy__in=OPENING)
    return mine.filter(~Exists(chosen))


def draw_items(*, project: Project, rater: Rater, count: int, by: User | None, seed: str = "") -> int:
    """Send `count` of the candidates, drawn by lot, to the judge too; returns how many there were to send."""
    ids = list(candidates(project, rater).values_list("pk", flat=True))
    wanted = min(count, MOST, len(ids))
    drawn = sorted(ids, key=lambda pk: place(project, pk, seed))[:wanted]
    for start in range(0, len(drawn), BATCH):
        send(project, drawn[start : start + BATCH], wanted, len(ids))
    if drawn:
        after = {"items": len(drawn), "of": len(ids), "judge": rater.name}
        audit.record(project=project, by=by, verb=audit.ROUTED, kind="items", after=after)
    return len(drawn)


def place(project: Project, pk: int, seed: str) -> str:
    return hashlib.sha256("\0".join((NAME, project.slug, str(pk), seed)).encode()).hexdigest()


@transaction.atomic
def send(project: Project, ids: list[int], wanted: int, of: int) -> None:
    reason = f"Drawn by lot, {wanted} of {of} that people have labelled, to measure the judge."
    choice = Choice(Route.BOTH, NAME, reason, {Route.BOTH: wanted / of, "": 1 - wanted / of})
    deciding.keep([deciding.Decided(pk, choice) for pk in ids], VERSION)
    people = counted_by_people().filter(item__in=ids).order_by().values("item")
    places = dict(people.annotate(n=Count("rater", distinct=True)).values_list("item", "n"))
    open_to_people(item_ids=ids, decision=Item.BOTH)
    curating.set_overlap(project, places)
