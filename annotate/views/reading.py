"""What an annotator asks for while reading an item: its text as written, and where two answers differ."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate import access, presenting
from annotate.differences import differences


@require_safe
def source(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Every text of the item as it was written; each names the place that it belongs to."""
    assignment = access.own_assignment(access.signed_in(request), slug, pk)
    history, last = presenting.conversation(assignment.item)
    sides = presenting.sides(list(assignment.item.responses.all()), assignment.order)
    texts = [(f"asked-{place}", turn.text) for place, turn in enumerate([*history, *last])]
    texts += [(f"{side.letter}-{place}", turn.text) for side in sides for place, turn in enumerate(side.turns)]
    return render(request, "annotate/_sources.html", {"texts": texts})


@require_safe
def diff(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Both answers with the words marked that the other one lacks; empty where there are not two."""
    assignment = access.own_assignment(access.signed_in(request), slug, pk)
    sides = presenting.sides(list(assignment.item.responses.all()), assignment.order)
    if len(sides) != 2:
        return HttpResponse()
    left, right = ("\n\n".join(turn.text for turn in side.turns) for side in sides)
    found = differences(left, right)
    return render(request, "annotate/_differences.html", {"columns": zip(sides, found, strict=True)})
