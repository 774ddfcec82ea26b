"""What can be known of docker-compose.yml without an engine: it parses, and every command in it is one of ours."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "plumbline"}
pytestmark = pytest.mark.database_free


def test_every_service_has_a_health_check_or_ends_by_itself():
    without = {name for name, service in COMPOSE["services"].items() if "healthcheck" not in service}
    assert without == {"prepare"}


def test_every_named_volume_is_declared():
    used = {
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith((".", "/"))
    }
    assert used == set(COMPOSE["volumes"])


def test_no_secret_has_a_default():
    environment = OURS["web"]["environment"]
    for name in ("SECRET_KEY", "ALLOWED_HOSTS"):
        assert environment[name].startswith(f"${{{name}:?")
    assert "${POSTGRES_PASSWORD:?" in environment["DATABASE_URL"]


def test_our_services_read_only_settings_that_exist():
    known = (ROOT / "config/env.py").read_text(encoding="utf-8")
    unknown = {name for service in OURS.values() for name in service["environment"] if f'"{name}"' not in known}
    assert unknown == set()


@pytest.mark.stage
@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_starts_outside_a_container(name):
    """With `--help` in its place, so that it ends: its program, application and options are known."""
    command = OURS[name]["command"]
    parts = shlex.split(command[2].replace("&&", ";")) if command[0] == "sh" else command
    program = parts[0]
    assert shutil.which(program, path=str(Path(sys.executable).parent)) or program == "python"
    run = subprocess.run(
        [str(Path(sys.executable).parent / program), *parts[1 : parts.index(";") if ";" in parts else None], "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PLUMBLINE_DEV": "1", "PATH": "/usr/bin:/bin"},
    )
    assert run.returncode == 0, run.stderr
