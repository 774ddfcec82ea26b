"""The items of a project: a list that stays quick however long it is, and everything that is known about one."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from annotate import access, queries
from annotate.forms import ItemsFilter


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The newest items first, by state and route; htmx asks for the table alone."""
    project = access.reviewed_project(access.signed_in(request), slug)
    form = ItemsFilter(request.GET)
    page = queries.items_page(project, **form.wanted())
    context = {"project": project, "form": form, "page": page}
    only_table = "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
    response = render(request, "annotate/_items.html" if only_table else "annotate/items.html", context)
    patch_vary_headers(response, ["HX-Request"])  # the browser must not show the table alone on "back"
    return response


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One item: what was asked and answered, by which models, what raters said, and what it adds up to."""
    item = access.reviewed_item(access.signed_in(request), slug, pk)
    return render(request, "annotate/item.html", {"project": item.project, **queries.item_facts(item)})
