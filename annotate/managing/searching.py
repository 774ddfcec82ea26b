"""Words in prompts and answers → items.

On PostgreSQL its own full-text search reads the generated columns `lexemes` of items and responses, which the
migration `item_lists` makes there and the models do not know. The configuration is "simple": no language is favoured,
and no word is dropped or cut to its stem.
What is typed is read by websearch_to_tsquery: words are all wanted, "quoted words" stand together, -word is unwanted.

Elsewhere a plain comparison of letters reads the newest items only, and the page says so.
"""

import json
from functools import reduce
from operator import and_

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast
from django.utils.translation import gettext as _

from annotate.models import Item, Project, Response

MOST = 10_000  # texts with the words that a search looks at, so that common words stay quick
NEWEST = 5_000  # items that are looked at without full-text search

MATCHES = """
(SELECT id FROM annotate_item
  WHERE project_id = %s AND lexemes @@ websearch_to_tsquery('simple', %s) LIMIT %s)
UNION
(SELECT answer.item_id FROM annotate_response AS answer
  WHERE answer.lexemes @@ websearch_to_tsquery('simple', %s)
    AND EXISTS (SELECT 1 FROM annotate_item AS item WHERE item.id = answer.item_id AND item.project_id = %s) LIMIT %s)
UNION
(SELECT id FROM annotate_item WHERE project_id = %s AND external_id = %s)
"""


def has_full_text() -> bool:
    return connection.vendor == "postgresql"


def with_words(items: QuerySet[Item], project: Project, text: str) -> QuerySet[Item]:
    """Those of the project's items with the words in their prompt or an answer, or with the text as their id."""
    text = text.replace("\x00", "").strip()
    if not text:
        return items
    return items.filter(indexed(project, text) if has_full_text() else plain(project, text))


def indexed(project: Project, text: str) -> Q:
    given = [project.pk, text, MOST, text, project.pk, MOST, project.pk, text[:200]]
    return Q(pk__in=RawSQL(MATCHES, given))  # noqa: S611 - constant SQL, everything from outside is a parameter


def plain(project: Project, text: str) -> Q:
    """Every word, as letters, in the prompt or in one of the answers of the newest items."""
    newest = Item.objects.filter(project=project).order_by("-pk").values_list("pk", flat=True)
    oldest = newest[NEWEST - 1 : NEWEST].first() or 0
    words = reduce(and_, (has_letters(word.strip('"')) for word in text.split()))
    return Q(external_id=text) | (Q(pk__gte=oldest) & words)


def has_letters(word: str) -> Q:
    """The word as JSON writes it: letters beyond ASCII stand there as escapes."""
    written = json.dumps(word)[1:-1]
    prompts = Item.objects.annotate(letters=Cast("prompt", TextField())).filter(letters__icontains=written)
    answers = Response.objects.annotate(letters=Cast("messages", TextField())).filter(letters__icontains=written)
    return Q(Exists(prompts.filter(pk=OuterRef("pk")))) | Q(Exists(answers.filter(item=OuterRef("pk"))))


def note(project: Project, text: str) -> str:
    """What somebody who searches must know about what was looked at; empty where it was everything."""
    if not text.strip():
        return ""
    if not has_full_text():
        return _(
            "This installation runs on SQLite: a search compares letters, in the newest %(count)s items only. "
            "PostgreSQL searches all of them."
        ) % {"count": f"{NEWEST:,}"}
    return (
        _("These words are very common: only %(count)s texts with them were looked at. Add a word.")
        % {"count": f"{MOST:,}"}
        if is_common(project, text)
        else ""
    )


def is_common(project: Project, text: str) -> bool:
    """Do more texts hold the words than a search looks at? The answers decide: there are more of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT 1 FROM annotate_response"
            " WHERE lexemes @@ websearch_to_tsquery('simple', %s) LIMIT %s) AS found",
            [text, MOST],
        )
        return cursor.fetchone()[0] >= MOST
