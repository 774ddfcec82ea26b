"""How far raters agree, as the worker has last measured it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_safe

from annotate import access, queries, skills
from annotate.agreement import in_words
from annotate.forms import AgreementFilter


@require_safe
def show(request: HttpRequest, slug: str) -> HttpResponse:
    """One question at a time: alpha, pairs of raters, judges against people, slices, raters. Reads what is stored."""
    project = access.reviewed_project(access.signed_in(request), slug)
    report = queries.agreement_report(project)
    measured = {question["name"]: question for question in report.get("questions", [])}
    form = AgreementFilter(request.GET, asked=[(name, row["title"]) for name, row in measured.items()])
    name, by = form.chosen()
    question = queries.question_with_fit(project, name)
    context = {
        "project": project,
        "form": form,
        "by": by,
        "by_words": dict(AgreementFilter.CUTS)[by],
        "report": report,
        "at": parse_datetime(report["at"]) if report else None,
        "measured": measured.get(name),
        "slices": measured[name]["slices"].get(by, []) if name in measured else [],
        "words": in_words(measured[name]["alpha"], measured[name]["low"]) if name in measured else "",
        "skills": queries.rater_skills(question) if question else [],
        "advice": skills.advice(project, question) if question else "",
    }
    only_part = "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
    response = render(request, "annotate/_agreement.html" if only_part else "annotate/agreement.html", context)
    patch_vary_headers(response, ["HX-Request"])
    return response
