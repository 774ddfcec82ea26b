"""What lists are asked for in their addresses, read forgivingly: what cannot be read counts as not asked for."""

from datetime import datetime, time
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from annotate import audit
from annotate.managing import item_lists
from annotate.models import Item, Pool, Project, Rater, User

LARGEST = 2**63 - 1


class DayField(forms.DateField):
    """A day, chosen from a calendar."""

    widget = forms.DateInput(attrs={"type": "date"})


def day_range(first: Any, last: Any) -> dict[str, datetime]:
    """The moments from the start of the first day to the end of the last, as far as they are given."""
    zone = timezone.get_current_timezone()
    found = {}
    if first:
        found["gte"] = datetime.combine(first, time.min, zone)
    if last:
        found["lte"] = datetime.combine(last, time.max, zone)
    return found


class ActsFilter(forms.Form):
    """Which acts the log shows."""

    by = forms.ModelChoiceField(User.objects.none(), required=False, label=_("Who"), empty_label=_("anybody"))
    verb = forms.ChoiceField(required=False, label=_("What"), choices=[("", _("did anything")), *audit.VERBS.items()])
    since = DayField(required=False, label=_("From"))
    until = DayField(required=False, label=_("To"))
    before = forms.IntegerField(required=False, min_value=1, max_value=LARGEST, widget=forms.HiddenInput)

    def __init__(self, *args: Any, people: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["by"].queryset = people  # type: ignore[attr-defined]

    def wanted(self) -> dict[str, Any]:
        """Lookups of Act; `before` is where the page begins."""
        self.is_valid()
        data = self.cleaned_data
        asked = {"by": data.get("by"), "verb": data.get("verb"), "pk__lt": data.get("before")}
        days = day_range(data.get("since"), data.get("until"))
        asked |= {f"at__{bound}": moment for bound, moment in days.items()}
        return {name: value for name, value in asked.items() if value not in (None, "")}

    def kept(self) -> str:
        """The choices as the start of an address, to which a link adds where its page begins."""
        chosen: dict[str, Any] = {name: self[name].value() for name in ("by", "verb", "since", "until")}
        return urlencode({name: value for name, value in chosen.items() if value and name in self.cleaned_data})


NOT_ROUTED = "none"  # in addresses, where an empty value means "any"


class ItemsFilter(forms.Form):
    """Which items a list shows, in which order, and from where."""

    q = forms.CharField(
        required=False,
        max_length=200,
        label=_("Words"),
        widget=forms.TextInput(attrs={"type": "search", "placeholder": _("in prompts and answers")}),
    )
    state = forms.ChoiceField(required=False, label=_("State"), choices=[("", _("any state")), *Item.STATES])
    route = forms.ChoiceField(
        required=False,
        label=_("Route"),
        choices=[("", _("any route")), *((route or NOT_ROUTED, words) for route, words in Item.ROUTES)],
    )
    label = forms.ChoiceField(
        required=False,
        label=_("Label"),
        choices=[("", _("any label")), ("a", "a"), ("b", "b"), ("tie", _("tie")), ("both_bad", _("both bad"))],
    )
    sort = forms.ChoiceField(
        required=False, label=_("Order"), choices=[(name, order.words) for name, order in item_lists.ORDERS.items()]
    )
    tag = forms.CharField(required=False, max_length=200, label=_("Tag"))
    model = forms.CharField(required=False, max_length=200, label=_("Written by model"))
    rater = forms.ModelChoiceField(Rater.objects.none(), required=False, label=_("Rated by"), empty_label=_("anybody"))
    pool = forms.ModelChoiceField(Pool.objects.none(), required=False, label=_("Pool"), empty_label=_("any pool"))
    low = forms.FloatField(required=False, min_value=0, max_value=100, label=_("Sure, from %"))
    high = forms.FloatField(required=False, min_value=0, max_value=100, label=_("to %"))
    since = DayField(required=False, label=_("Came in from"))
    until = DayField(required=False, label=_("to"))
    differ = forms.BooleanField(required=False, label=_("People differ"))
    flagged = forms.BooleanField(required=False, label=_("Flagged, not answered"))
    discussed = forms.BooleanField(required=False, label=_("Discussed"))
    reason = forms.BooleanField(required=False, label=_("With a written reason"))
    source = forms.IntegerField(required=False, min_value=1, max_value=LARGEST, widget=forms.HiddenInput)

    FIRST = ("q", "state", "route", "label", "sort")  # always in view; the rest behind “More”

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        raters = Rater.objects.filter(project=project).order_by("kind", "name")
        self.fields["rater"].queryset = raters  # type: ignore[attr-defined]
        self.fields["pool"].queryset = Pool.objects.filter(project=project)  # type: ignore[attr-defined]

    def chosen(self) -> dict[str, Any]:
        """What `item_lists` takes: objects and moments; what is not asked for is None."""
        self.is_valid()
        data = self.cleaned_data
        found: dict[str, Any] = {name: data.get(name) or None for name in self.fields}
        if found["route"] == NOT_ROUTED:
            found["route"] = Item.UNROUTED
        for name in ("low", "high"):
            found[name] = None if data.get(name) is None else data[name] / 100
        found["created"] = day_range(found.pop("since"), found.pop("until")) or None
        return found

    def kept(self) -> dict[str, str]:
        """The choices as an address says them, without what is not asked for or could not be read."""
        self.is_valid()
        given = {name: self[name].value() for name in self.fields if name in self.cleaned_data}
        words = {name: "on" if value is True else str(value) for name, value in given.items() if value}
        return {name: value for name, value in words.items() if self.cleaned_data.get(name)}

    def address(self) -> str:
        """The choices as the start of an address, to which a link adds where its page begins."""
        return urlencode(self.kept())

    def first(self) -> list[forms.BoundField]:
        return [self[name] for name in self.FIRST]

    def more(self) -> list[forms.BoundField]:
        return [field for field in self.visible_fields() if field.name not in self.FIRST]

    def asks_more(self) -> bool:
        """Is anything chosen that stands behind “More”?"""
        return any(name not in (*self.FIRST, "source") for name in self.kept())


class ViewForm(forms.Form):
    """A name for what the list shows now."""

    name = forms.CharField(max_length=80, label=_("Name"))
    shared = forms.BooleanField(required=False, label=_("For everybody who sees the items"))
