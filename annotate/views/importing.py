"""Importing a file: upload, preview with the mapping of columns, progress, and what came of it."""

from pathlib import Path

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseStopPolling

from annotate import access, queries, tasks
from annotate.forms import UploadForm
from annotate.importing import jobs
from annotate.importing import progress as reports
from annotate.importing.formats import FORMATS
from annotate.importing.preview import Preview
from annotate.importing.preview import preview as preview_of
from annotate.models import Import

COLUMN, FIELD = "column-", "field-"  # the form's pairs: name of a column, and what it is to hold


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, slug: str) -> HttpResponse:
    """Choose a file, and see the files that came before."""
    user = access.signed_in(request)
    project = access.managed_project(user, slug)
    form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
    if request.method == "POST" and form.is_valid():
        kept = jobs.keep_upload(project=project, upload=form.cleaned_data["file"], by=user)
        return redirect("import", slug, kept.pk)
    context = {
        "project": project,
        "form": form,
        "formats": FORMATS.values(),
        "imports": queries.recent_imports(project),
    }
    return render(request, "annotate/import_new.html", context, status=422 if form.errors else 200)


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One import, whatever state it is in: its preview, its progress, or what came of it."""
    imported = access.managed_import(access.signed_in(request), slug, pk)
    seen = preview_from(imported, imported.format, imported.mapping) if is_waiting(imported) else None
    context = {
        "project": imported.project,
        "import": imported,
        "progress": reports.read(imported.pk),
        "preview": seen,
    }
    return render(request, "annotate/import.html", context)


@require_safe
def preview(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The preview anew, with the format and the mapping that were just chosen."""
    imported = access.managed_import(access.signed_in(request), slug, pk)
    if not is_waiting(imported):
        return redirect("import", slug, pk)
    seen = preview_from(imported, request.GET.get("format", ""), mapping_in(request.GET))
    context = {"project": imported.project, "import": imported, "preview": seen}
    return render(request, "annotate/_import_preview.html", context)


@require_POST
def start(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Hand the file to a worker, if its first rows make items."""
    imported = access.managed_import(access.signed_in(request), slug, pk)
    if not is_waiting(imported):
        return redirect("import", slug, pk)
    seen = preview_from(imported, request.POST.get("format", ""), mapping_in(request.POST))
    if seen.plan is None or not seen.is_ready:
        context = {"project": imported.project, "import": imported, "preview": seen}
        return render(request, "annotate/import.html", context, status=422)
    jobs.queue(imported=imported, plan=seen.plan, send=tasks.take_in_import.delay, by=access.signed_in(request))
    return redirect("import", slug, pk)


@require_safe
def progress(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """How far a worker is, for the page's poll, which ends with the import."""
    imported = access.managed_import(access.signed_in(request), slug, pk)
    context = {"project": imported.project, "import": imported, "progress": reports.read(imported.pk)}
    response = render(request, "annotate/_import_state.html", context)
    if imported.state not in (Import.QUEUED, Import.RUNNING):
        response.status_code = HttpResponseStopPolling.status_code
    return response


@require_POST
def stop(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    imported = access.managed_import(access.signed_in(request), slug, pk)
    jobs.stop(imported=imported, by=access.signed_in(request))
    messages.info(request, _("The import stops; nothing of the file is taken in."))
    return redirect("import", slug, pk)


@require_POST
def discard(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    imported = access.managed_import(access.signed_in(request), slug, pk)
    if jobs.discard(imported=imported, by=access.signed_in(request)):
        messages.success(
            request, _("%(file_name)s is thrown away; nothing of it was taken in.") % {"file_name": imported.file_name}
        )
        return redirect("import_new", slug)
    messages.error(request, _("This file is being taken in, or was already: it cannot be thrown away."))
    return redirect("import", slug, pk)


def is_waiting(imported: Import) -> bool:
    """Whether the file lies here and may still be taken in."""
    return imported.state in (Import.UPLOADED, Import.FAILED) and Path(imported.path).is_file()


def preview_from(imported: Import, format_name: str, mapping: dict[str, str]) -> Preview:
    return preview_of(project=imported.project, path=Path(imported.path), format_name=format_name, mapping=mapping)


def mapping_in(form: QueryDict) -> dict[str, str]:
    """Column → field, from the form's numbered pairs."""
    numbers = [name.removeprefix(COLUMN) for name in form if name.startswith(COLUMN)]
    return {str(form[COLUMN + number]): form.get(FIELD + number, "") for number in numbers}
