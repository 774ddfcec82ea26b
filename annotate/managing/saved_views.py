"""The sole writer of saved views and of which columns a user sees."""

from collections.abc import Iterable, Mapping

from django.db.models import Q, QuerySet

from annotate.managing.item_lists import COLUMNS, USUAL
from annotate.models import ListColumns, Project, SavedView, User


def seen_by(user: User, project: Project) -> QuerySet[SavedView]:
    """The user's own views of a project and those that are shared there."""
    return SavedView.objects.filter(Q(owner=user) | Q(shared=True), project=project).select_related("owner")


def save_view(
    *, project: Project, owner: User, name: str, choices: Mapping[str, str], shared: bool = False
) -> SavedView:
    """Keep these choices under the name; the owner's view of that name is replaced."""
    values = {"choices": dict(choices), "shared": shared}
    return SavedView.objects.update_or_create(project=project, owner=owner, name=name, defaults=values)[0]


def restore(*, rows: Iterable[SavedView]) -> None:
    """The views of an export; of two that have the same name and owner here, both stay."""
    for view in rows:
        taken = set(SavedView.objects.filter(project=view.project, owner=view.owner).values_list("name", flat=True))
        numbered = (f"{view.name[:74]} ({number})" for number in range(2, len(taken) + 3))
        view.name = next(name for name in [view.name, *numbered] if name not in taken)
        view.save(force_insert=True)


def delete_view(*, view: SavedView) -> None:
    SavedView.objects.filter(pk=view.pk).delete()


def columns_of(user: User) -> tuple[str, ...]:
    """The columns that the user chose, else the usual ones."""
    kept = ListColumns.objects.filter(user=user).values_list("columns", flat=True).first()
    return tuple(name for name in kept if name in COLUMNS) if kept else USUAL


def choose_columns(*, user: User, columns: Iterable[str]) -> None:
    wanted = set(columns)
    kept = [name for name in COLUMNS if name in wanted]
    ListColumns.objects.update_or_create(user=user, defaults={"columns": kept})
