"""What a user chose for themselves, the same on every machine: keys, how answers are read, and the language.

The sole writer of `User.preferences`: {"keys": {action: key}, "reading": {name: true}, "language": code}.
"""

from typing import Any

from django.conf import settings
from django.db import transaction

from annotate import keys
from annotate.models import User

READING = ("source", "panes", "together", "broad")  # the aids that stay as they were left


def own_keys(user: User) -> dict[str, str]:
    return dict(user.preferences.get("keys", {}))


def reading(user: User) -> dict[str, bool]:
    """Reading aid → is it on?"""
    chosen = user.preferences.get("reading", {})
    return {name: bool(chosen.get(name)) for name in READING}


def language(user: User) -> str:
    """The code of the language that the user chose; empty where none was, or one that is no longer offered."""
    chosen = str(user.preferences.get("language", ""))
    return chosen if chosen in dict(settings.LANGUAGES) else ""


@transaction.atomic
def change_key(*, user: User, action: str, key: str) -> None:
    """Give an action of the workbench another key. Raises keys.KeysError."""
    kept = locked(user)
    write(user, {**kept, "keys": keys.changed(kept.get("keys", {}), action, key)})


@transaction.atomic
def reset_keys(*, user: User) -> None:
    write(user, {**locked(user), "keys": {}})


@transaction.atomic
def change_reading(*, user: User, name: str, on: bool) -> None:
    """Remember that a reading aid was switched on or off; a name that is none changes nothing."""
    if name not in READING:
        return
    kept = locked(user)
    write(user, {**kept, "reading": {**kept.get("reading", {}), name: on}})


@transaction.atomic
def change_language(*, user: User, code: str) -> None:
    write(user, {**locked(user), "language": code})


def locked(user: User) -> dict[str, Any]:
    """The preferences as they stand, held until the transaction ends."""
    return User.objects.select_for_update().values_list("preferences", flat=True).get(pk=user.pk)


def write(user: User, preferences: dict[str, Any]) -> None:
    user.preferences = preferences
    user.save(update_fields=["preferences"])
