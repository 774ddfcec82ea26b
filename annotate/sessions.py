"""Who asks: the session and the user of a request, read from the database by each request, with compiled statements.

As Django's own do it, in the same tables; only the statements are not written anew each time.
"""

from datetime import datetime
from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from annotate import compiled
from annotate.models import User


class SessionStore(DatabaseSessionStore):
    """Sessions in the database: one that was ended or has run out is gone at once."""

    def _get_session_from_db(self) -> Session | None:
        found = compiled.first("session", live, self.session_key, timezone.now())
        if found is None:
            self._session_key = None
        return found


def live(key: str, now: datetime) -> QuerySet[Session]:
    return Session.objects.filter(session_key=key, expire_date__gt=now)


class ByName(ModelBackend):
    """Sign-in by user name."""

    def get_user(self, user_id: int) -> User | None:
        return active_user(self, user_id)


class ByNameOrMail(AuthenticationBackend):
    """Sign-in by user name or e-mail address."""

    def get_user(self, user_id: int) -> User | None:
        return active_user(self, user_id)


def active_user(backend: Any, user_id: int) -> User | None:
    """The user of a session, unless the account was closed."""
    user = compiled.first("user", lambda pk: User.objects.filter(pk=pk), user_id)
    return user if user is not None and backend.user_can_authenticate(user) else None
