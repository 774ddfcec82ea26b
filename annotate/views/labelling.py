"""The workbench: one item at a time, its draft, and what comes after it."""

import json
import math
from collections.abc import Callable
from datetime import datetime
from functools import partial, wraps
from operator import attrgetter
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_POST, require_safe

from annotate import access, compiled, presenting, queries, queue, rubrics, tallies
from annotate.models import Annotation, Assignment, Item, Project, Question, User
from annotate.quality import feedback, phases
from annotate.questions import AnswerError
from annotate.submitting import asked_about, current, submit_annotation, texts_of

LONGEST_SECONDS = 24 * 3600.0
NOT_COUNTED = gettext_lazy(
    "Your answer is kept, but it came after its time had run out and somebody else had taken the item, "
    "so it does not count. Nothing else is affected."
)


def own_page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer 409 to a page of somebody who has signed out since: nothing goes out in another's name."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        page_of = request.headers.get("X-Plumbline-User")
        if page_of is not None and page_of != str(request.user.pk):
            return HttpResponse(status=409)
        return view(request, *args, **kwargs)

    return checked


# --- What is shown --------------------------------------------------------------------------------------------


@never_cache
@gzip_page
@require_safe
@own_page
def label(request: HttpRequest, slug: str) -> HttpResponse:
    """The item that the user holds, or the next one, or why there is none."""
    user = access.signed_in(request)
    return show_next(request, access.project(user, slug))


@never_cache
@require_safe
def again(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One of the user's own items once more, with its answers filled in; a submit makes a revision."""
    assignment = access.own_assignment(access.signed_in(request), slug, pk)
    if assignment.state == Assignment.LEASED:
        return redirect("label", slug)
    return show_item(request, assignment)


@never_cache
@require_safe
@own_page
def ahead(request: HttpRequest, slug: str) -> HttpResponse:
    """The item that comes after the one on the screen (`?on=`), leased by fetching it ahead; 204 if none."""
    user = access.signed_in(request)
    return show_ahead(request, access.project(user, slug), whole(request.GET.get("on", ""))) or HttpResponse(
        status=204
    )


@require_safe
def back(request: HttpRequest, slug: str) -> HttpResponse:
    """Undo: the item finished last, or the one before `?before=` that one."""
    user = access.signed_in(request)
    project = access.project(user, slug)
    found = finished_before(project, user.pk, whole(request.GET.get("before", "")))
    if found is None:
        return saying(HttpResponse(status=204), _("There is nothing before this to bring back."))
    return show_item(request, found)


def finished_before(project: Project, user_id: int, pk: int | None) -> Assignment | None:
    """The user's assignment that was submitted or skipped last; with `pk`, last before that one was."""
    own = Assignment.objects.filter(rater__user=user_id, rater__project=project)
    then = own.filter(pk=pk).values_list("finished_at", flat=True).first() if pk is not None else None
    newest: list[Assignment] = []
    for state in (Assignment.SUBMITTED, Assignment.SKIPPED):  # each a range of one index
        done = own.filter(state=state, finished_at__isnull=False)
        done = done.filter(finished_at__lt=then) if then is not None else done
        newest += done.select_related("item", "rater__project").order_by("-finished_at")[:1]
    return max(newest, key=attrgetter("finished_at"), default=None)


def saying(response: HttpResponse, words: str) -> HttpResponse:
    """The response with something to say: the page's script puts the words where they are seen and heard."""
    response["HX-Trigger"] = json.dumps({"workbench:say": words})
    return response


def whole(text: str) -> int | None:
    """A number of an address or a form; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() else None


def show_next(request: HttpRequest, project: Project, note: str = "", announce: str = "") -> HttpResponse:
    """The region with the next item, or with why there is none."""
    user = access.signed_in(request)
    live = queue.leases(user=user, project=project, member=user.member)
    if live:
        return show_item(request, live[0], note=note, announce=announce)
    standing = queue.standing(user=user, project=project, member=user.member)
    context = {**strip(project, user), "standing": standing, "note": note, "announce": announce}
    if user.member is not None and standing in (queue.QUIZ_PASSED, queue.QUIZ_FAILED):
        context |= {
            "quiz": phases.report(user.member, project),
            "lessons": feedback.of_quiz(user.member, project),
        }
    return show_region(request, context)


def show_ahead(request: HttpRequest, project: Project, on: int | None) -> HttpResponse | None:
    """The region with the item that the user holds besides `on`, the one on the screen; None where there is none."""
    user = access.signed_in(request)
    live = queue.leases(user=user, project=project, wanted=queue.MOST_LEASES, member=user.member)
    following = next((assignment for assignment in live if assignment.pk != on), None)
    if following is None:
        return None
    response = show_item(request, following)
    response["X-Ahead"] = str(following.pk)
    return response


def after(request: HttpRequest, project: Project, *, note: str = "", announce: str = "") -> HttpResponse:
    """What follows a submit or a skip: the item after the one that the page shows already (`ahead`), else the next.

    Where nothing comes after that one, the strip alone, for its counts.
    """
    on = whole(request.POST.get("ahead", ""))
    if on is None:
        return show_next(request, project, note=note, announce=announce)
    response = show_ahead(request, project, on)
    if response is None:
        response = render(request, "annotate/_strip.html", strip(project, access.signed_in(request)))
    return saying(response, note) if note else response


def show_item(
    request: HttpRequest,
    assignment: Assignment,
    *,
    form: presenting.Form | None = None,
    problem: str = "",
    note: str = "",
    announce: str = "",
) -> HttpResponse:
    """The region with one item. `form` is what was sent, where that could not be taken."""
    item, project = assignment.item, assignment.rater.project
    asked = asked_about(rubrics.questions_of(project), len(assignment.order))
    shown = shown_as(assignment, asked)
    if form is None:
        form = form_to_show(assignment, asked, shown)
    history, last = presenting.conversation(item)
    is_leased = assignment.state == Assignment.LEASED
    context = {
        **strip(project, access.signed_in(request)),
        **phase(request, assignment),
        "assignment": assignment,
        "item": item,
        "history": history,
        "last": last,
        "sides": presenting.sides(queries.responses_of(item), assignment.order),
        "controls": partial(presenting.controls, asked, shown, form),  # made only where they are drawn
        # Is the form the one that every item begins with?
        "is_blank": is_leased and not form and not assignment.active_seconds and shown.texts is None,
        "reason": form.get("reason", ""),
        "key": uuid4().hex,
        "is_again": assignment.state in (Assignment.SUBMITTED, Assignment.SKIPPED),
        "problem": problem,
        "note": note,
        "announce": announce,
    }
    return show_region(request, context, status=422 if problem else 200)


def show_lesson(request: HttpRequest, assignment: Assignment, lesson: feedback.Lesson) -> HttpResponse:
    """The region with what a training item teaches."""
    words = _("As expected.") if lesson.is_right else _("Not as expected.")
    context = {
        **strip(assignment.rater.project, access.signed_in(request)),
        "lesson": lesson,
        "announce": words,
    }
    return show_region(request, context)


@require_safe
def lesson(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """What a training item that the user has answered teaches."""
    assignment = access.own_assignment(access.signed_in(request), slug, pk)
    found = feedback.of_training(assignment)
    return show_lesson(request, assignment, found) if found else redirect("label", slug)


@require_POST
def quiz_again(request: HttpRequest, slug: str) -> HttpResponse:
    """Begin another attempt at the quiz, if one is left."""
    user = access.signed_in(request)
    project = access.project(user, slug)
    if user.member is not None:
        phases.try_again(member=user.member, project=project)
    return redirect("label", slug)


def shown_as(assignment: Assignment, asked: list[Question]) -> presenting.Shown:
    """How the item is presented to whoever holds it."""
    return presenting.Shown(tuple(assignment.order), texts_of(assignment.item, asked))


def form_to_show(assignment: Assignment, asked: list[Question], shown: presenting.Shown) -> presenting.Form:
    """What is filled in: the draft, else what was submitted before."""
    draft = assignment.draft.get("form")
    if draft is not None:
        return draft
    if assignment.state != Assignment.SUBMITTED:
        return {}
    before = current(assignment.item_id, assignment.rater_id, assignment.order)
    return presenting.form_of(before.answers, before.reason, asked, shown) if before else {}


def done_since(user_id: int, project_id: int, moment: datetime) -> QuerySet[Assignment, Any]:
    """How many items a person has submitted since then: one row with the count, none where there are none."""
    own = Assignment.objects.filter(rater__user=user_id, rater__project=project_id, state=Assignment.SUBMITTED)
    done = own.filter(finished_at__gte=moment)
    return done.order_by().values("state").annotate(n=Count("*")).values_list("n")


def strip(project: Project, user: User) -> dict[str, Any]:
    """The line above the item: the project, how far it is, and how many the user has done today."""
    counts = tallies.read(project.pk)
    # An answer to gold moves the count on like any other: were it to stand still, it would give the gold away.
    moving = (*tallies.LABELS.values(), tallies.GOLD_ANSWERS)
    labelled = sum(counts.get(name, 0) for name in moving)
    return {
        "project": project,
        "today": sum(n for (n,) in compiled.run("done", done_since, user.pk, project.pk, queue.midnight())),
        "items": counts.get(tallies.ITEMS, 0),
        "labelled": min(labelled, counts.get(tallies.ITEMS, 0)),
    }


def phase(request: HttpRequest, assignment: Assignment) -> dict[str, Any]:
    """Where the annotator stands in training or quiz; nothing, and no query, in the real queue."""
    member = access.signed_in(request).member
    now = phases.phase_of(member, assignment.rater.project) if member else phases.REAL
    return phases.progress(assignment.rater_id, assignment.rater.project, now) if now in phases.USES else {}


def swaps(request: HttpRequest) -> bool:
    """Does htmx ask, and so for the region only? When it restores its history it wants the page."""
    return "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers


def show_region(request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
    """The whole page, or, for htmx, the region that it swaps; the address follows the item."""
    fragment = swaps(request)
    template = "annotate/_bench.html" if fragment else "annotate/label.html"
    response = render(request, template, {**context, "fragment": fragment}, status=status)
    if fragment:
        slug = context["project"].slug
        again = context.get("is_again", False)
        here = (
            reverse("label_again", args=[slug, context["assignment"].pk]) if again else reverse("label", args=[slug])
        )
        response["HX-Replace-Url"] = here
    return response


@require_safe
def waiting(request: HttpRequest, slug: str) -> HttpResponse:
    """Is there something to do by now? Asked now and then by the page that had nothing; leases nothing."""
    user = access.signed_in(request)
    project = access.project(user, slug)
    standing = queue.standing(user=user, project=project, member=user.member)
    if standing == request.GET.get("standing"):
        return HttpResponse(status=204)
    return render(request, "annotate/_waiting.html", {"project": project, "standing": standing})


@require_safe
def guidelines(request: HttpRequest, slug: str) -> HttpResponse:
    """The guidelines in force, for the panel."""
    project = access.project(access.signed_in(request), slug)
    return render(request, "annotate/_guidelines.html", {"project": project})


# --- What is sent ---------------------------------------------------------------------------------------------


@require_POST
@own_page
def submit(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Keep the answers and show the next item, in one round trip."""
    assignment = access.own_assignment(access.signed_in(request), slug, pk)
    project, order = assignment.rater.project, assignment.order
    asked = asked_about(rubrics.questions_of(project), len(order))
    shown = shown_as(assignment, asked)
    form = presenting.form_from(request.POST.dict(), asked, shown)
    problem = presenting.unanswered(form, asked, shown)
    if not problem:
        try:
            made = submit_annotation(
                assignment=assignment,
                answers=presenting.answers_of(form, asked, shown),
                reason=form.get("reason", ""),
                seconds=seconds_of(request),
                idempotency_key=page_key(request) or None,
                guideline_version=version_of(request, "guideline_version", project.guideline_version),
                rubric_version=version_of(request, "rubric_version", project.rubric_version),
            )
        except AnswerError as error:
            problem = str(error)
    if problem:
        return show_item(request, assignment, form=form, problem=problem)
    if not swaps(request):
        return redirect("label_lesson", slug, pk) if feedback.of_training(assignment) else redirect("label", slug)
    lesson = feedback.of_training(assignment)
    if lesson is not None:
        return show_lesson(request, assignment, lesson)
    kept = _("Changed.") if made.revision else _("Kept.")
    is_late = not made.counted and assignment.item.state != Item.GOLD  # gold never counts, and nothing shows it
    return after(request, project, note=str(NOT_COUNTED) if is_late else "", announce=kept)


@require_POST
@own_page
def skip(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Put the item aside and show the next one."""
    assignment = access.own_assignment(access.signed_in(request), slug, pk)
    queue.skip(assignment=assignment, reason=request.POST.get("skip_reason", "").replace("\x00", "").strip())
    if not swaps(request):
        return redirect("label", slug)
    return after(request, assignment.rater.project, announce=_("Skipped."))


@require_POST
@own_page
def draft(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Keep what is filled in so far and the lease alive; says whether the lease is still held."""
    assignment = access.own_assignment(access.signed_in(request), slug, pk)
    asked = asked_about(rubrics.questions_of(assignment.rater.project), len(assignment.order))
    form = presenting.form_from(request.POST.dict(), asked, presenting.Shown(tuple(assignment.order)))
    number = whole(request.POST.get("number", "")) or 0
    sent = {"form": form, "key": page_key(request), "number": number}
    saved = keep_draft(assignment, sent, seconds_of(request))
    held = assignment.state != Assignment.EXPIRED or queue.regain(assignment=assignment)
    if held and assignment.state == Assignment.LEASED:
        queue.renew_all(rater_id=assignment.rater_id, project=assignment.rater.project)
    return JsonResponse({"saved": saved, "held": held})


@transaction.atomic
def keep_draft(assignment: Assignment, sent: dict[str, Any], seconds: float | None) -> bool:
    """Keep a draft unless a newer one of the same page is there, or the page's answer has been submitted since."""
    locked = Assignment.objects.select_for_update(of=("self",)).get(pk=assignment.pk)
    kept = locked.draft
    overtaken = kept.get("key") == sent["key"] and kept.get("number", 0) > sent["number"]
    own = Annotation.objects.filter(item=locked.item_id, rater=locked.rater_id)
    if overtaken or own.filter(idempotency_key=sent["key"]).exists():
        return False
    locked.draft = sent
    locked.active_seconds = max(locked.active_seconds, seconds or 0.0)
    locked.save(update_fields=["draft", "active_seconds"])
    return True


def page_key(request: HttpRequest) -> str:
    """The key that the page made for its answer: sent twice, it counts once."""
    return request.POST.get("key", "").replace("\x00", "")[:64]


def seconds_of(request: HttpRequest) -> float | None:
    """The active time that the page counted; None where it says nothing usable."""
    try:
        seconds = float(request.POST.get("seconds", ""))
    except ValueError:
        return None
    return min(seconds, LONGEST_SECONDS) if math.isfinite(seconds) and seconds >= 0 else None


def version_of(request: HttpRequest, name: str, newest: int) -> int:
    """The version that the page showed; the newest where it says none that there has been."""
    shown = whole(request.POST.get(name, ""))
    return shown if shown is not None and 1 <= shown <= newest else newest
