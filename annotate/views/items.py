"""The items of a project: a list that stays quick however long it is, and everything that is known about one."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotate import access, pools, queries
from annotate.forms import ItemPoolForm
from annotate.managing import bulk, item_lists, saved_views, searching, timelines
from annotate.managing.filters import ItemsFilter, ViewForm


@require_safe
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """The items that fit the address, a page at a time; htmx asks for the table alone."""
    user = access.signed_in(request)
    project = access.reviewed_project(user, slug)
    form = ItemsFilter(request.GET, project=project)
    columns = saved_views.columns_of(user)
    asked = {name: request.GET.get(name) for name in ("before", "after")}
    page = item_lists.page(project, form.chosen(), columns=columns, **asked)
    context = {"project": project, "form": form, "page": page, "columns": columns, "all_columns": item_lists.COLUMNS}
    if access.role_in(user, project) == access.MANAGER:
        context["verbs"] = bulk.VERBS.values()
    if swaps(request):
        response = render(request, "annotate/_items.html", context)
    else:
        context |= {"views": saved_views.seen_by(user, project), "view_form": ViewForm()}
        response = render(request, "annotate/items.html", context)
    patch_vary_headers(response, ["HX-Request"])  # the browser must not show the table alone on "back"
    return response


def swaps(request: HttpRequest) -> bool:
    return "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers


@require_safe
def count(request: HttpRequest, slug: str) -> HttpResponse:
    """How many items fit the address, about; asked for once the page is there, since it may take longer."""
    project = access.reviewed_project(access.signed_in(request), slug)
    form = ItemsFilter(request.GET, project=project)
    chosen = form.chosen()
    context = {"size": item_lists.size(project, chosen), "note": searching.note(project, chosen.get("q") or "")}
    return render(request, "annotate/_items_count.html", context)


@require_POST
def columns(request: HttpRequest, slug: str) -> HttpResponse:
    """Which columns this user wants to see; none means the usual ones."""
    user = access.signed_in(request)
    access.reviewed_project(user, slug)
    saved_views.choose_columns(user=user, columns=request.POST.getlist("columns"))
    return back_to_list(request, slug)


@require_POST
def view_new(request: HttpRequest, slug: str) -> HttpResponse:
    """Keep what the list shows under a name."""
    user = access.signed_in(request)
    project = access.reviewed_project(user, slug)
    form, choices = ViewForm(request.POST), ItemsFilter(QueryDict(request.POST.get("choices", "")), project=project)
    if form.is_valid():
        saved_views.save_view(project=project, owner=user, choices=choices.kept(), **form.cleaned_data)
        messages.success(request, _("The view “%(name)s” is kept.") % {"name": form.cleaned_data["name"]})
    else:
        messages.error(request, _("A view needs a name of at most 80 letters."))
    return back_to_list(request, slug)


@require_POST
def view_delete(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    view = access.own_view(access.signed_in(request), slug, pk)
    saved_views.delete_view(view=view)
    messages.success(request, _("The view “%(name)s” is gone; its items stay.") % {"name": view.name})
    return redirect("items", slug)


def back_to_list(request: HttpRequest, slug: str) -> HttpResponse:
    """To the list with the choices that the form was sent with."""
    choices = QueryDict(request.POST.get("choices", "")).urlencode()
    return redirect(f"{reverse('items', args=[slug])}?{choices}")


@require_safe
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One item: what was asked and answered, by which models, what raters said, and what it adds up to."""
    item = access.reviewed_item(access.signed_in(request), slug, pk)
    form = ItemPoolForm(project=item.project, initial={"pool": item.pool_id})
    context = {"project": item.project, "form": form, "events": timelines.of_item(item), **queries.item_facts(item)}
    return render(request, "annotate/item.html", context)


@require_POST
def pool(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Say who may label one item."""
    item = access.managed_item(access.signed_in(request), slug, pk)
    form = ItemPoolForm(request.POST, project=item.project)
    if form.is_valid():
        chosen = form.cleaned_data["pool"]
        pools.move_items(project=item.project, item_ids=[item.pk], pool=chosen, by=access.signed_in(request))
        words = _("The item is for %(pool)s.") if chosen else _("The item is for everybody in the project.")
        messages.success(request, words % {"pool": chosen})
    return redirect("item", slug, pk)
