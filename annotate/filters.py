"""What lists are asked for in their addresses, read forgivingly: what cannot be read counts as not asked for."""

from datetime import datetime, time
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from annotate import audit
from annotate.models import User

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
