"""The editor of a project's questions: add, change, move and remove them, and see them as annotators will."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from annotate import access, presenting, projects
from annotate.models import Project, Question, Response
from annotate.question_forms import FORMS, QuestionForm
from annotate.question_sets import SETS
from annotate.questions import QuestionError, can_ask, check_config
from annotate.views.samples import PROMPT, RESPONSES

BUTTONS = {"set", "remove", "up", "down"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "choice": {"options": ["one", "other"]},
    "critique": {"reasons": ["wrong", "too long"]},
    "span": {"tags": ["evidence"]},
}


@require_http_methods(["GET", "HEAD", "POST"])
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The questions in force; `?question=name` changes one, `?add=kind` adds one; a POST does what its button says."""
    project = access.managed_project(access.signed_in(request), slug)
    if BUTTONS & set(request.POST):
        return act(request, project)
    asked = list(project.questions.all())
    form = form_for(request, asked)
    if form is not None and form.is_bound and form.is_valid():
        user = access.signed_in(request)
        made = projects.change_question(project=project, name=form.question.name, by=user, **form.values())
        messages.success(request, _("“%(title)s” is asked from now on.") % {"title": made.title})
        return redirect("questions", slug)
    context = {
        "project": project,
        "questions": asked,
        "form": form,
        "kinds": Question.KINDS,
        "sets": [(name, title) for name, (title, _specs) in SETS.items()],
        **sample(previewed(form, asked)),
    }
    return render(request, "annotate/questions.html", context, status=422 if form is not None and form.errors else 200)


@require_POST
def preview(request: HttpRequest, slug: str) -> HttpResponse:
    """The question that is being written, as annotators will see it among those that decide whether it is asked."""
    project = access.managed_project(access.signed_in(request), slug)
    asked = list(project.questions.all())
    form = form_for(request, asked)
    return render(request, "annotate/_sample.html", {"form": form, **sample(previewed(form, asked))})


def form_for(request: HttpRequest, asked: list[Question]) -> QuestionForm | None:
    """The form of the question or kind in the address; None where it names none."""
    if "question" in request.GET:
        editing = next((question for question in asked if question.name == request.GET["question"]), None)
        if editing is None:
            raise Http404
        others = [question for question in asked if question is not editing]
        answered = projects.is_answered(editing)
        return FORMS[editing.kind](request.POST or None, others=others, editing=editing, is_answered=answered)
    kind = request.GET.get("add", "")
    return FORMS[kind](request.POST or None, others=asked) if kind in FORMS else None


def previewed(form: QuestionForm | None, asked: list[Question]) -> list[Question]:
    """The question in the form as it stands, with the one that it waits for; all of them where none is edited."""
    if form is None:
        return asked
    question = form.question if form.is_bound and form.is_valid() else form.editing
    if question is None:
        return [] if form.is_bound else [example(form.kind)]
    when = question.config.get("when")
    return [*(other for other in form.others if when and other.name == when["question"]), question]


def example(kind: str) -> Question:
    """A question of this kind as it is at first, for the preview of an empty form."""
    config = check_config(kind, EXAMPLES.get(kind, {}))
    return Question(name=kind, kind=kind, title=str(dict(Question.KINDS)[kind]), config=config)


def sample(questions: list[Question]) -> dict[str, Any]:
    """The page's parts for the sample item: three answers where a ranking wants them, else two."""
    count = 3 if questions and "preference" not in {question.kind for question in questions} else 2
    responses = [
        Response(position=place, words=len(text.split()), messages=[{"role": "assistant", "content": text}])
        for place, text in enumerate(RESPONSES[:count])
    ]
    shown = presenting.Shown(tuple(range(count)), RESPONSES[:count])
    names = can_ask(questions, count)
    asked = [question for question in questions if question.name in names]
    return {
        "prompt": PROMPT,
        "sides": presenting.sides(responses, shown.order),
        "controls": presenting.controls(asked, shown, {}),
    }


def act(request: HttpRequest, project: Project) -> HttpResponse:
    """Remove or move a question, or add a common set of them."""
    user = access.signed_in(request)
    try:
        if "set" in request.POST:
            said = add_set(request, project)
        elif "remove" in request.POST:
            question = named(project, request.POST["remove"])
            projects.remove_question(question=question, by=user)
            said = f"“{question.title}” is no longer asked."
        else:
            up = "up" in request.POST
            question = named(project, request.POST["up" if up else "down"])
            projects.move_question(question=question, by=user, up=up)
            said = f"“{question.title}” is asked {'earlier' if up else 'later'}."
        messages.success(request, said)
    except (projects.ProjectError, QuestionError) as error:
        messages.error(request, str(error))
    return redirect("questions", project.slug)


def named(project: Project, name: str) -> Question:
    return get_object_or_404(Question, project=project, name=name)


def add_set(request: HttpRequest, project: Project) -> str:
    if request.POST["set"] not in SETS:
        raise Http404
    _title, specs = SETS[request.POST["set"]]
    made = projects.add_questions(project=project, asked=specs, by=access.signed_in(request))
    if not made:
        return "All of these are asked already."
    return f"Asked from now on: {', '.join(question.title for question in made)}."
