"""The audit log: the sole writer of Act.

Each service function that does what only managers and admins may do calls `record` in its own transaction, so that
the act and its trace stand or fall together. Labelling is no administrative act: annotations are their own record.
"""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotate.models import Act, Project, User

# What can be done, and how the log's page says it.
CREATED, CHANGED, REMOVED = "created", "changed", "removed"
STARTED, STOPPED, RESUMED, UNDONE = "started", "stopped", "resumed", "undone"
PROMOTED, RETIRED, ROUTED, CUT, TRIED = "promoted", "retired", "routed", "cut", "tried"
INVITED, WITHDRAWN, ACCEPTED = "invited", "withdrawn", "accepted"
VERBS = {
    CREATED: _("created"),
    CHANGED: _("changed"),
    REMOVED: _("removed"),
    STARTED: _("started"),
    STOPPED: _("stopped"),
    RESUMED: _("resumed"),
    UNDONE: _("undid"),
    PROMOTED: _("promoted"),
    RETIRED: _("retired"),
    ROUTED: _("routed"),
    CUT: _("cut"),
    TRIED: _("tried"),
    INVITED: _("invited"),
    WITHDRAWN: _("withdrew"),
    ACCEPTED: _("accepted"),
}
NOBODY = "the command line"
SECRET = ("password", "secret", "encrypted_key", "api_key", "token")


def record(
    *,
    project: Project | None,
    by: User | None,
    verb: str,
    kind: str,
    object_id: int | None = None,
    words: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> Act:
    """One act, inside the caller's transaction. `by` None is the command line.

    `before` and `after` hold what changed and nothing secret: a name that may be one is a ValueError.
    """
    secret = [name for name in {**(before or {}), **(after or {})} if name == "key" or name in SECRET]
    if verb not in VERBS or secret:
        raise ValueError(f"{verb!r} is no verb of the log." if verb not in VERBS else f"{secret} are never logged.")
    return Act.objects.create(
        project=project,
        place=project.name if project else "",
        by=by,
        by_name=by.username if by else NOBODY,
        verb=verb,
        kind=kind,
        object_id=object_id,
        words=words[:300],
        before=dict(before or {}),
        after=dict(after or {}),
    )


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `record` takes as before and after: only the names whose values differ."""
    names = [name for name in new if old.get(name) != new[name]]
    return {name: old.get(name) for name in names}, {name: new[name] for name in names}


def record_change(
    *,
    project: Project | None,
    by: User | None,
    kind: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    object_id: int | None = None,
    words: str = "",
) -> None:
    """An act of changing, if anything did."""
    before, after = difference(old, new)
    if after:
        record(
            project=project,
            by=by,
            verb=CHANGED,
            kind=kind,
            object_id=object_id,
            words=words,
            before=before,
            after=after,
        )
