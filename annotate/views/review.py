"""Adjudication and discussion: the disagreements in order of worth, a verdict on each, and the words about them."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access
from annotate.models import Comment, Item, Project
from annotate.quality import discussion, review
from annotate.quality.answering import Answering
from annotate.questions import AnswerError


@never_cache
@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The disagreement whose review is worth most; with `?after=value-id` the one that follows."""
    project = access.reviewed_project(access.signed_in(request), slug)
    after = place_of(request.GET.get("after", ""))
    item = review.next_item(project, after)
    if item is None:
        context = {"project": project, "is_last": after is not None, "waiting": review.waiting(project)}
        return render(request, "annotate/quality/review_done.html", context)
    return show(request, item, Answering(item))


def place_of(text: str) -> tuple[float, int] | None:
    """“1.234-56” as a place in the queue; None for anything else."""
    value, _dash, pk = text.partition("-")
    if not (pk.isascii() and pk.isdecimal() and value.replace(".", "", 1).isdecimal()):
        return None
    return float(value), int(pk)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def item(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One item side by side with all that was said; a POST is the verdict, and goes on to the next."""
    user = access.signed_in(request)
    found = access.reviewed_item(user, slug, pk)
    answering = Answering(found)
    if request.method == "POST":
        if decide(request, found, answering):
            return redirect("review", slug)
    elif found.verdict is not None:
        answering.fill(found.verdict.answers, found.verdict.reason)
    return show(request, found, answering)


def decide(request: HttpRequest, found: Item, answering: Answering) -> bool:
    """Take the answers, or with `stands` the label as it is; False with `answering.problem` where that cannot be."""
    if "stands" in request.POST:
        answers = review.answers_of(list(found.labels.select_related("question")))
    else:
        answers = answering.read(request.POST.dict()).answers
    try:
        if not answering.problem:
            review.decide(
                item=found,
                by=access.signed_in(request),
                answers=answers,
                comment=request.POST.get("comment", "").replace("\x00", "").strip(),
                asks_again="asks_again" in request.POST,
            )
    except (AnswerError, review.ReviewError) as error:
        answering.problem = str(error)
    if not answering.problem:
        messages.success(request, _("Decided. Those who answered otherwise see it on their page."))
    return not answering.problem


def show(request: HttpRequest, found: Item, answering: Answering) -> HttpResponse:
    user, project = access.signed_in(request), found.project
    context: dict[str, Any] = {
        "project": project,
        "said": review.said_on(found, answering.asked),
        "labels": list(found.labels.select_related("question").order_by("question__position")),
        "waiting": review.waiting(project),
        "thread": discussion.thread(found, user, access.REVIEWER),
        "later": f"{reverse('review', args=[project.slug])}?after={found.review_value}-{found.pk}",
        "comment": request.POST.get("comment", found.verdict.reason if found.verdict else ""),
        **answering.context(),
    }
    return render(request, "annotate/quality/review.html", context, status=422 if answering.problem else 200)


@require_POST
def withdraw(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Take a verdict back."""
    user = access.signed_in(request)
    found = access.reviewed_item(user, slug, pk)
    try:
        review.withdraw(item=found, by=user)
        messages.success(request, _("Taken back: people's answers decide again."))
    except review.ReviewError as error:
        messages.error(request, str(error))
    return redirect("review_item", slug, pk)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def discuss(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The discussion of an item, for those who labelled it and those who look after the project."""
    user = access.signed_in(request)
    found, role = access.discussed_item(user, slug, pk)
    if request.method == "POST":
        above = Comment.objects.filter(item=found, pk=whole(request.POST.get("parent", "")) or 0).first()
        discussion.add(item=found, author=user, role=role, body=request.POST.get("body", ""), parent=above)
        return redirect("discussion", slug, pk)
    context = {"project": found.project, "thread": discussion.thread(found, user, role)}
    return render(request, "annotate/quality/discussion.html", {**context, **seen_by(found, user, found.project)})


def seen_by(found: Item, user: Any, project: Project) -> dict[str, Any]:
    """The item in stored order, as everybody in the discussion sees it; and whether this reader saw it otherwise."""
    own = found.assignments.filter(rater__user=user).values_list("order", flat=True).first()
    return {**Answering(found).context(), "was_turned": own is not None and own != sorted(own)}


def whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None
