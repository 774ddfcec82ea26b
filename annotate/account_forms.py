"""What allauth's forms say on our pages. A module of its own: allauth's forms load only once all models are there."""

from typing import Any

from allauth.account.forms import LoginForm
from django.utils.translation import gettext_lazy as _


class SignInForm(LoginForm):
    """The sign-in form in our words; the page itself has the link for a forgotten password."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        words = {"login": _("Name or e-mail address"), "password": _("Password"), "remember": _("Stay signed in")}
        for name, field in self.fields.items():
            field.label, field.help_text = words.get(name, field.label), ""
            field.widget.attrs.pop("placeholder", None)
