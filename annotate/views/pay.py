"""What people's work costs, for those who pay for it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import access, projects
from annotate.quality import pay
from annotate.quality.forms import PayForm, RateForm


@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, slug: str) -> HttpResponse:
    """Time and money for each person and each label; a POST sets the project's rate."""
    user = access.signed_in(request)
    project = access.managed_project(user, slug)
    form = PayForm(request.POST or None, instance=project)
    if request.method == "POST" and form.is_valid():
        projects.change_settings(project=project, by=user, **form.cleaned_data)
        messages.success(request, _("Saved."))
        return redirect("pay", slug)
    span = request.GET.get("span", "")
    since = pay.since_of(span)
    lines = pay.lines(project, since)
    context = {
        "project": project,
        "form": form,
        "lines": lines,
        "total": pay.total(project, lines, is_all=since is None),
        "span": span if since else "",
        "spans": [("", _("ever")), ("month", _("this month")), ("30", _("the last 30 days"))],
    }
    return render(request, "annotate/quality/pay.html", context, status=422 if form.errors else 200)


@require_safe
def table(request: HttpRequest, slug: str) -> HttpResponse:
    """The same as CSV."""
    project = access.managed_project(access.signed_in(request), slug)
    lines = pay.lines(project, pay.since_of(request.GET.get("span", "")))
    response = HttpResponse(pay.as_csv(project, lines), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{project.slug}-pay.csv"'
    return response


@require_POST
def rate(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One member's own rate."""
    user = access.signed_in(request)
    member = access.managed_member(user, slug, pk)
    form = RateForm(request.POST)
    if form.is_valid():
        pay.change_rate(member=member, rate=form.cleaned_data["rate"], by=user)
        messages.success(request, _("Saved."))
    else:
        messages.error(request, _("A rate is an amount of money, 0 or more; blank takes the project's."))
    return redirect("pay", slug)
