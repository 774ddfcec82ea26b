"""The discussion of an item: the sole writer of Comment.

Those who labelled the item, its reviewers and its managers take part. Annotators see neither each other's names nor
those of models; reviewers see who wrote.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from annotate.models import Assignment, Comment, Item, Membership, User

LONGEST = 4000  # characters of a comment


@dataclass(frozen=True)
class Shown:
    """One comment with its author as this reader may know them, and the comments that answer it."""

    comment: Comment
    author: str
    is_own: bool
    replies: list["Shown"]


def thread(item: Item, reader: User, role: str) -> list[Shown]:
    """The item's comments, the oldest first, each with its replies."""
    comments = list(Comment.objects.filter(item=item).select_related("author"))
    numbers: dict[Any, int] = {}
    for comment in comments:
        if comment.role == Membership.ANNOTATOR:
            numbers.setdefault(comment.author_id or comment.written_by, len(numbers) + 1)
    children: dict[int | None, list[Comment]] = {}
    for comment in comments:
        children.setdefault(comment.parent_id, []).append(comment)

    def shown(comment: Comment) -> Shown:
        replies = [shown(reply) for reply in children.get(comment.pk, [])]
        own = comment.author_id == reader.pk
        return Shown(comment, author_of(comment, own, role, numbers), own, replies)

    return [shown(comment) for comment in children.get(None, [])]


def author_of(comment: Comment, is_own: bool, role: str, numbers: dict[Any, int]) -> str:
    if is_own:
        return _("You")
    if role != Membership.ANNOTATOR:
        return f"{comment.author or comment.written_by or '–'} ({comment.role})"
    if comment.role == Membership.ANNOTATOR:
        return _("Annotator %(number)d") % {"number": numbers[comment.author_id or comment.written_by]}
    return _("Reviewer")


def add(*, item: Item, author: User, role: str, body: str, parent: Comment | None = None) -> Comment | None:
    """Keep a comment; None for one without words. A reply to a reply stands beside it: one level is enough."""
    words = body.replace("\x00", "").strip()[:LONGEST]
    if not words:
        return None
    above = parent.parent or parent if parent else None
    return Comment.objects.create(item=item, author=author, role=role, body=words, parent=above)


def restore(*, rows: Iterable[Comment]) -> None:
    """The comments of an export, each after the one that it answers."""
    for comment in rows:
        comment.parent_id = comment.parent.pk if comment.parent else None
        comment.save(force_insert=True)


def recent_of(user: User, project_id: int, most: int = 20) -> list[Comment]:
    """The newest comments by others on items that the user labelled."""
    theirs = Assignment.objects.filter(rater__user=user, rater__project=project_id, state=Assignment.SUBMITTED)
    found = Comment.objects.filter(item__project=project_id, item__in=theirs.values("item")).exclude(author=user)
    return list(found.select_related("item").defer("item__prompt", "item__metadata").order_by("-created_at")[:most])
