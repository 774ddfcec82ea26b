"""What those who run a project keep for themselves: views of the items, and how a list looks."""

from urllib.parse import urlencode

from django.db import models
from django.utils import timezone

from annotate.models.projects import Project, User


class SavedView(models.Model):
    """A named choice of items: what the list's address said when it was saved."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="saved_views")
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=80)
    choices = models.JSONField(help_text="name → value, as annotate.managing.filters.ItemsFilter reads them")
    shared = models.BooleanField(default=False, help_text="shown to everybody who sees the project's items")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "owner", "name"], name="saved_view_unique_name"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """The choices as the list's address says them."""
        return urlencode(self.choices)


class ListColumns(models.Model):
    """The columns of the list of items that a user wants to see, in every project."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="+")
    columns = models.JSONField(help_text="names of annotate.managing.item_lists.COLUMNS, in order")
