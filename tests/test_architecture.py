"""The rules of the house: which room may import which, what pages load, what stands written twice."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TRAINING_LIBRARIES = {"torch", "transformers", "trl", "datasets", "peft", "accelerate"}


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def offenders(files: list[Path], forbidden) -> dict[str, list[str]]:
    found = {str(path.relative_to(ROOT)): sorted(filter(forbidden, imports_of(path))) for path in files}
    return {path: names for path, names in found.items() if names}


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_annotate_imports_nothing_of_pipeline():
    assert offenders(python_files("annotate"), lambda name: within(name, "pipeline")) == {}


def test_the_ml_room_imports_neither_django_nor_the_rest_of_the_house():
    def forbidden(name):
        outside = any(within(name, package) for package in ("django", "annotate", "config", "celery"))
        return outside or (within(name, "pipeline") and not within(name, "pipeline.ml") and name != "pipeline")

    assert offenders(python_files("pipeline/ml"), forbidden) == {}


def test_only_the_ml_room_and_its_tests_import_training_libraries():
    files = [
        path
        for path in python_files("annotate", "pipeline", "config", "tests")
        if "ml" not in path.relative_to(ROOT).parts
    ]
    assert offenders(files, lambda name: name.split(".")[0] in TRAINING_LIBRARIES) == {}


def test_only_config_env_reads_the_environment():
    files = [path for path in python_files("annotate", "config", "pipeline") if "ml" not in path.parts]
    readers = {
        str(path.relative_to(ROOT))
        for path in files
        if "os.environ" in path.read_text(encoding="utf-8").replace("os.environ.setdefault(", "")
        or "os.getenv" in path.read_text(encoding="utf-8")
    }
    assert readers <= {"config/env.py", "pipeline/launcher.py"}


@pytest.mark.stage
def test_serving_a_page_loads_no_training_library():
    code = (
        "import json, sys, django\n"
        "from django.conf import settings\n"
        "django.setup()\n"
        "from django.test import Client\n"
        "from config.wsgi import application\n"
        "import config.urls, annotate.tasks, pipeline.tasks\n"
        "from django.urls import get_resolver\n"
        "get_resolver().url_patterns\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"DJANGO_SETTINGS_MODULE": "config.settings", "PLUMBLINE_DEV": "1", "PATH": "/usr/bin:/bin"},
    )
    loaded = set(json.loads(shown.stdout.splitlines()[-1]))
    assert loaded & TRAINING_LIBRARIES == set()


def test_no_file_is_a_drawer_for_odds_and_ends():
    drawers = {"utils.py", "helpers.py", "misc.py", "common.py"}
    assert [
        str(path) for path in python_files("annotate", "pipeline", "config", "tests") if path.name in drawers
    ] == []


def test_templates_have_no_inline_style_or_handler():
    """A strict content security policy would block them silently."""
    wrong = []
    for path in sorted((ROOT / "templates").rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        wrong += [
            f"{path.name}: {mark}" for mark in (' style="', " onclick=", " onload=", " onchange=") if mark in text
        ]
    assert wrong == []


def test_the_room_of_statistics_knows_no_database():
    def forbidden(name):
        own = within(name, "annotate.statistics")
        return any(within(name, package) for package in ("django", "celery", "config")) or (
            within(name, "annotate") and not own and name != "annotate"
        )

    assert offenders(python_files("annotate/statistics"), forbidden) == {}
