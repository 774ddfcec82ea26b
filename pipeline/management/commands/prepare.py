"""Make the site ready to serve: tables, and on one's own machine the demo. Safe to run at every start."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command

from annotate.commands import PlainCommand
from pipeline import demo


class Command(PlainCommand):
    help = "Bring the tables up to date and, with PLUMBLINE_DEV=1, set up the demo."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-demo", action="store_true", help="tables only")
        parser.add_argument("--no-model", action="store_true", help="leave out the demo model and what it writes")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        if options["no_demo"] or not settings.DEMO:
            return
        demo.people()
        project = demo.project()
        if not options["no_model"]:
            self.add_model(project)
        self.stdout.write(
            f"\nPlumbline is starting at {settings.SITE_URL}\n\n"
            + "\n".join(f"  {name:<6} {role or 'admin':<10}" for name, _, role in demo.CAST)
            + f"\n\n  password for each: {demo.PASSWORD}\n  Ctrl-C stops everything.\n"
        )

    def add_model(self, project: demo.Project) -> None:
        if not (settings.DEMO_MODEL / "config.json").exists():
            self.stdout.write("Making the demo model ready (about a minute, once) …")
        try:
            version = demo.model()
        except demo.DemoError as error:
            raise CommandError(str(error)) from None
        demo.judge(project, version)
        demo.answers(project)
