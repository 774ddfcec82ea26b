"""The raw export: a project as a folder that `import_project` makes the same project of. Read only.

`project.json` holds the guidelines, the questions, their versions and settings; `items.jsonl` the items in the native
format with every annotation, replaced and late ones too; `beside.jsonl` flags, comments and what else stands beside
them; `attachments/` the pictures that they name, listed in `attachments.jsonl`. People stand under pseudonyms unless
their names are wanted.
"""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from annotate import attachments, beside
from annotate.models import Annotation, Attachment, Gold, Item, Project, Rater, Response
from annotate.projects import rubric_body
from annotate.submitting import IN_FORCE, VERDICT, WITHDRAWN

BATCH = 500  # items in memory at once
MEMBER = ("role", "skills", "is_paused", "daily_quota", "total_quota", "pay_rate")
PICTURES, BESIDE = "attachments.jsonl", "beside.jsonl"
SETTINGS = (
    "overlap", "lease_minutes", "daily_quota", "total_quota", "judge_share", "both_share", "aggregation_method",
    "gold_rate", "has_training", "has_quiz", "quiz_pass_mark", "quiz_attempts", "has_leaderboard", "image_hosts",
    "skip_reasons", "flag_reasons", "pay_rate", "pay_unit", "currency",
)  # fmt: skip


def write_project(*, project: Project, folder: Path, with_names: bool = False) -> dict[str, Any]:
    """Write its files into a folder that is made; returns what stands in them, counted. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {} if with_names else pseudonyms(project)
    whole = {**project_body(project), "left_out": left_out(project, names)}
    if with_names:
        whole |= {"members": member_rows(project), "pools": pool_rows(project)}
    body = json.dumps(whole, ensure_ascii=False, indent=1)
    (folder / "project.json").write_text(body + "\n", encoding="utf-8")
    items = annotations = 0
    with (folder / "items.jsonl").open("w", encoding="utf-8") as file:
        for row in item_rows(project, names):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            items += 1
            annotations += len(row.get("annotations", []))
    with (folder / BESIDE).open("w", encoding="utf-8") as file:
        for row in beside.rows_of(project, lambda name: stand_in(name, names)):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    pictures = write_pictures(project, folder)
    counts = {"items": items, "annotations": annotations, "attachments": pictures}
    return {"project": project.slug, "folder": str(folder), **counts}


def write_pictures(project: Project, folder: Path) -> int:
    """The files of the project's pictures under their hashes, and a list of them; nothing where there are none."""
    rows = Attachment.objects.filter(project=project).order_by("pk")
    count = 0
    for count, row in enumerate(rows.iterator(chunk_size=BATCH), start=1):  # noqa: B007 - the last one is the count
        path = folder / attachments.file_name(row.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        with attachments.opened(row.sha256) as kept, path.open("wb") as file:
            shutil.copyfileobj(kept, file)
        said = {"sha256": row.sha256, "original": row.original, "source": row.source}
        with (folder / PICTURES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(said, ensure_ascii=False) + "\n")
    return count


def pseudonyms(project: Project) -> dict[str, str]:
    """Name of a person → what stands for it: person-1 is who came first."""
    people = Rater.objects.filter(project=project, kind=Rater.HUMAN).order_by("pk")
    return {name: f"person-{number}" for number, name in enumerate(people.values_list("name", flat=True), start=1)}


def stand_in(name: str, names: Mapping[str, str]) -> str:
    """The pseudonym of a person; the name itself where names are wanted. Who never labelled has none of their own."""
    return names.get(name, "somebody") if names and name else name


def project_body(project: Project) -> dict[str, Any]:
    versions = project.versions.order_by("kind", "number").values("kind", "number", "body", "created_at")
    return {
        "name": project.name,
        "description": project.description,
        "guidelines": project.guidelines,
        "questions": rubric_body(project),
        "guideline_version": project.guideline_version,
        "rubric_version": project.rubric_version,
        "versions": [{**version, "created_at": version["created_at"].isoformat()} for version in versions],
        "settings": {name: plain(project.__dict__[name]) for name in SETTINGS},
    }


def plain(value: Any) -> Any:
    """A value as JSON has it: an amount of money is text, so that no digit of it is lost."""
    return str(value) if isinstance(value, Decimal) else value


def member_rows(project: Project) -> list[dict[str, Any]]:
    """Who belongs to the project, for a place where their accounts are."""
    found = project.memberships.order_by("user__username").values("user__username", *MEMBER)
    return [
        {"name": row.pop("user__username"), **{name: plain(value) for name, value in row.items()}} for row in found
    ]


def pool_rows(project: Project) -> list[dict[str, Any]]:
    return [dict(row) for row in project.pools.order_by("name").values("name", "people", "skills")]


def left_out(project: Project, names: Mapping[str, str]) -> list[dict[str, str]]:
    """The raters whose answers do not count."""
    raters = Rater.objects.filter(project=project, excluded_at__isnull=False).order_by("pk")
    return [
        {"kind": rater.kind, "rater": stand_in(rater.name, names) if rater.kind == Rater.HUMAN else rater.name}
        for rater in raters
    ]


def item_rows(project: Project, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Every item as a native row, in the order in which they came."""
    after = 0
    while batch := list(
        Item.objects.filter(project=project, pk__gt=after).select_related("pool").order_by("pk")[:BATCH]
    ):
        after = batch[-1].pk
        ids = [item.pk for item in batch]
        responses = by_item(Response.objects.filter(item__in=ids).order_by("position"))
        annotations = by_item(Annotation.objects.filter(item__in=ids).select_related("rater"))
        known = {gold.item_id: gold for gold in Gold.objects.filter(item__in=ids)}
        for item in batch:
            row = {
                "id": item.external_id,
                "tags": item.tags,
                "metadata": item.metadata,
                "prompt": item.prompt,
                "responses": [response_row(response, names) for response in responses[item.pk]],
                "for": for_row(item, names),
                "gold": gold_row(known.get(item.pk)),
                "annotations": list(annotation_rows(annotations[item.pk], names, item.verdict_id)),
            }
            yield filled(row)


def by_item(rows: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.item_id].append(row)
    return found


def filled(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without what says nothing; `responses` and `prompt` always do."""
    return {name: value for name, value in row.items() if value not in (None, "", [], {})}


def response_row(response: Response, names: Mapping[str, str]) -> dict[str, Any]:
    return filled(
        {
            "model": response.model,
            "author": stand_in(response.author, names),
            "messages": response.messages,
            "metadata": response.metadata,
        }
    )


def for_row(item: Item, names: Mapping[str, str]) -> dict[str, Any] | None:
    if item.pool is None:
        return None
    people = [stand_in(name, names) for name in item.pool.people]
    return filled({"people": people, "skills": item.pool.skills}) or None


def gold_row(gold: Gold | None) -> dict[str, Any] | None:
    if gold is None:
        return None
    said = {"answers": gold.answers, "tolerance": gold.tolerance, "explanation": gold.explanation, "use": gold.use}
    return filled(said)


def verdict_row(annotation: Annotation, decided_by: int | None) -> str:
    """What a file says of a reviewer's verdict; empty for what is none."""
    if annotation.order_key != VERDICT:
        return ""
    return IN_FORCE if annotation.pk == decided_by else WITHDRAWN


def annotation_rows(
    annotations: list[Annotation], names: Mapping[str, str], decided_by: int | None
) -> Iterator[dict[str, Any]]:
    """The annotations of one item, each after the one that it replaces, with ids that count within the item.

    `decided_by` is the verdict in force on the item.
    """
    ordered = sorted(annotations, key=lambda one: (one.revision, one.submitted_at, one.rater.name, one.order_key))
    numbers = {annotation.pk: str(number) for number, annotation in enumerate(ordered, start=1)}
    for annotation in ordered:
        name = annotation.rater.name
        yield filled(
            {
                "id": numbers[annotation.pk],
                "replaces": numbers.get(annotation.replaces_id) if annotation.replaces_id else None,
                "rater": stand_in(name, names) if annotation.rater.kind == Rater.HUMAN else name,
                "kind": annotation.rater.kind,
                "order": annotation.order,
                "answers": annotation.answers,
                "reason": annotation.reason,
                "reference": annotation.reference,
                "confidence": annotation.confidence,
                "seconds": annotation.seconds,
                "metadata": annotation.metadata,
                "guideline_version": annotation.guideline_version,
                "rubric_version": annotation.rubric_version,
                "submitted_at": annotation.submitted_at.isoformat(),
                "counted": annotation.counted,
                "verdict": verdict_row(annotation, decided_by),
            }
        )
