"""The items of a project: a list that stays quick however long it is, and everything that is known about one."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST, require_safe

from annotate import access, pools, queries
from annotate.forms import ItemPoolForm, ItemsFilter


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
    form = ItemPoolForm(project=item.project, initial={"pool": item.pool_id})
    return render(request, "annotate/item.html", {"project": item.project, "form": form, **queries.item_facts(item)})


@require_POST
def pool(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Say who may label one item."""
    item = access.managed_item(access.signed_in(request), slug, pk)
    form = ItemPoolForm(request.POST, project=item.project)
    if form.is_valid():
        chosen = form.cleaned_data["pool"]
        pools.move_items(project=item.project, item_ids=[item.pk], pool=chosen, by=access.signed_in(request))
        messages.success(request, f"The item is for {chosen or 'everybody in the project'}.")
    return redirect("item", slug, pk)
