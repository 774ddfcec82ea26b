"""What the docs promise: every command and option is listed, every link leads somewhere, compose can be read."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parent.parent
OURS = sorted(name for name, app in get_commands().items() if app in ("annotate", "pipeline"))
pytestmark = pytest.mark.database_free


@pytest.mark.parametrize("name", OURS)
def test_every_command_and_option_is_in_the_reference(name):
    text = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    assert f"**`{name}" in text
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    theirs = set(
        load_command_class("django.core", "migrate").create_parser("manage.py", "migrate")._option_string_actions
    )
    options = {option for option in parser._option_string_actions if option.startswith("--")} - theirs - {"--json"}
    assert {option for option in options if f"`{option}" not in text} == set()


def test_the_commands_that_were_promised_are_there():
    promised = "create_project import_items generate route judge export_dataset train evaluate promote runs"
    assert set(promised.split()) <= set(OURS)


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda document: document.name
)
def test_every_link_leads_somewhere(document):
    words = re.sub(r"`[^`\n]*`", "", document.read_text(encoding="utf-8"))  # what stands as code is no link
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", words)
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert missing == []


def test_every_setting_is_in_the_reference():
    text = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    code = (ROOT / "config/env.py").read_text(encoding="utf-8")
    names = set(re.findall(r'(?:environ\.get|flag|words|url)\(\s*"([A-Z_]+)"', code))
    assert len(names) > 12
    assert {name for name in names if f"`{name}`" not in text} == set()
