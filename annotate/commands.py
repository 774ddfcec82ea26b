"""What all of Plumbline's management commands share: their output for machines, and exit codes that mean something.

0 done · 1 failed, with a message on stderr · 2 wrong use · 130 stopped. With `--json` stdout holds one JSON object,
also where the command failed; progress and messages go to stderr.
"""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, SystemCheckError

from annotate.models import Project, User

FAILED, WRONG_USE, STOPPED = 1, 2, 130


class WrongUse(CommandError):
    """The command was called with something that cannot be meant: exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=WRONG_USE)


class Failed(CommandError):
    """The command did what it could and failed: exit code 1. `result` is what `--json` prints besides."""

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(message, returncode=FAILED)
        self.result = result or {}


def project_named(slug: str) -> Project:
    """The project with this slug. Raises WrongUse with the slugs that there are."""
    found = Project.objects.filter(slug=slug).first()
    if found is None:
        known = ", ".join(Project.objects.order_by("slug").values_list("slug", flat=True)[:20])
        raise WrongUse(f"There is no project {slug!r}: the projects are {known or 'none yet, make one first'}.")
    return found


def user_named(username: str) -> User:
    """The user with this name. Raises WrongUse."""
    found = User.objects.filter(username=username).first()
    if found is None:
        raise WrongUse(f"There is no user {username!r}: check the name, or invite them first.")
    return found


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM stops a command as Ctrl-C does: what it has open is rolled back."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class PlainCommand(BaseCommand):
    """A command whose failure is one sentence on stderr: Django would put the name of the exception before it."""

    is_own_process = False  # signals belong to whoever owns the process

    def run_from_argv(self, argv: list[str]) -> None:
        self.is_own_process = True
        super().run_from_argv(argv)

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except SystemCheckError:
            raise  # which Django shows as it is
        except CommandError as error:
            if not self.is_own_process or options.get("traceback"):
                raise
            self.stderr.write(str(error))
            sys.exit(error.returncode)


class JsonCommand(PlainCommand):
    """A command that returns its result as plain data.

    Subclasses give `arguments(parser)`, `run(**options) -> dict` and `in_words(result) -> str`; exceptions in
    `expected` end it with their message and exit code 1.
    """

    expected: tuple[type[Exception], ...] = ()
    requires_migrations_checks = False

    def arguments(self, parser: CommandParser) -> None:
        """Add the command's own arguments."""

    def run(self, **options: Any) -> dict[str, Any]:
        """Do it and return what came of it."""
        raise NotImplementedError

    def in_words(self, result: dict[str, Any]) -> str:
        """The result for a person; by default one line a fact."""
        return "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in result.items())

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object to stdout.")
        self.arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        as_json = options.pop("json")
        try:
            result = self.work(options)
        except Failed as failure:
            if as_json:
                self.print_json({"error": str(failure), **failure.result})
            raise
        if as_json:
            self.print_json(result)
        else:
            self.stdout.write(self.in_words(result))

    def work(self, options: dict[str, Any]) -> dict[str, Any]:
        """`run`, with expected exceptions and interruptions turned into what ends a command."""
        try:
            if not self.is_own_process:
                return self.run(**options)
            with stoppable():
                return self.run(**options)
        except self.expected as error:
            raise Failed(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped.", returncode=STOPPED) from None

    def print_json(self, result: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(result, ensure_ascii=False, default=str))

    def say(self, line: str) -> None:
        """One line of progress, on stderr."""
        self.stderr.write(line, style_func=str)
