"""manage.py create_project NAME: a new labelling project with a preference question and a rating, or its own."""

import argparse
import json
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.core.validators import validate_slug

from annotate import projects
from annotate.commands import JsonCommand, WrongUse, user_named
from annotate.questions import QuestionError


def whole_number(low: int, high: int) -> Any:
    """An argparse type: a whole number from low to high."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse


class Command(JsonCommand):
    help = "Create a project with a preference question on seven points and one rating, Helpful, or with your own."
    expected = (projects.ProjectError, QuestionError)

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="What people read at the top of its pages.")
        parser.add_argument(
            "--slug", default="", help="Its name in addresses and commands; made from NAME if not given."
        )
        parser.add_argument("--guidelines", type=Path, metavar="FILE", help="A Markdown file with the guidelines.")
        parser.add_argument("--questions", type=Path, metavar="FILE", help="A JSON file: the list of its questions.")
        parser.add_argument("--manager", default="", metavar="USERNAME", help="Who manages it, besides the admins.")
        parser.add_argument(
            "--overlap", type=whole_number(1, 20), default=1, help="How many people label an item (default 1)."
        )
        parser.add_argument(
            "--judge-share", type=whole_number(0, 100), default=0, help="Per cent of items that only the judge labels."
        )
        parser.add_argument(
            "--both-share", type=whole_number(0, 100), default=0, help="Per cent that people and the judge label."
        )

    def run(self, **options: Any) -> dict[str, Any]:
        check_name(options["name"])
        check_slug(options["slug"])
        if options["judge_share"] + options["both_share"] > 100:
            raise WrongUse("--judge-share and --both-share are more than 100 together: lower one of them.")
        made = projects.create_project(
            name=options["name"],
            slug=options["slug"],
            guidelines=read_guidelines(options["guidelines"]),
            asked=read_questions(options["questions"]),
            by=user_named(options["manager"]) if options["manager"] else None,
            overlap=options["overlap"],
            judge_share=options["judge_share"],
            both_share=options["both_share"],
        )
        questions = list(made.questions.values_list("name", flat=True))
        return {"project": made.slug, "name": made.name, "questions": questions}

    def in_words(self, result: dict[str, Any]) -> str:
        return f"{result['name']} is ready as “{result['project']}”; it asks: {', '.join(result['questions'])}."


def check_name(name: str) -> None:
    if not name.strip() or len(name) > 120:
        raise WrongUse(f"The name has {len(name)} characters: give it 1 to 120.")


def check_slug(slug: str) -> None:
    try:
        validate_slug(slug or "made-from-the-name")
    except ValidationError:
        raise WrongUse(f"--slug is {slug!r}: use letters, digits, hyphens and underscores.") from None


def read_guidelines(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUse(f"The guidelines at {path} cannot be read: {error}.") from None


def read_questions(path: Path | None) -> list[Any] | None:
    """The list in the file; None where no file is given."""
    if path is None:
        return None
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WrongUse(f"The questions at {path} cannot be read: {error}.") from None
    if not isinstance(asked, list) or not asked:
        raise WrongUse(f'{path} holds no list of questions: write [{{"name": …, "kind": …}}, …].')
    return asked
