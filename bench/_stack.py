"""The real stack for benchmarks: a PostgreSQL database of its own, gunicorn with the production settings, signed-in
users. Importing it sets the environment, so it stands before anything of Django's.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
LOG_LINE = "%(m)s %(s)s %(D)s %(U)s"  # method, status, microseconds, path


def prepare(name: str, *, keep: bool = False) -> None:
    """Point this process and its children at an empty database `name` on DATABASE_URL's server; exits without one.

    With `keep`, at the one that an earlier run left, as it is.
    """
    given = urlsplit(os.environ.get("DATABASE_URL", ""))
    if not given.scheme.startswith("postgres"):
        sys.exit("This benchmark needs PostgreSQL: set DATABASE_URL to postgres://user@host:5432/any-database.")
    import psycopg

    with psycopg.connect(urlunsplit(given._replace(scheme="postgresql")), autocommit=True) as server:
        if not keep:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            server.execute(f'CREATE DATABASE "{name}"')
    os.environ.update(
        DATABASE_URL=urlunsplit(given._replace(path=f"/{name}")),
        DJANGO_SETTINGS_MODULE="config.settings",
        SECRET_KEY=secrets.token_urlsafe(50),
        ALLOWED_HOSTS="127.0.0.1",
        PLUMBLINE_DEV="0",
        PLUMBLINE_HTTPS="0",
        PLUMBLINE_VAR=tempfile.mkdtemp(prefix="plumbline-bench-"),
        LOG_LEVEL="WARNING",
    )
    manage("migrate", "--verbosity", "0")
    manage("collectstatic", "--noinput", "--verbosity", "0")
    import django

    django.setup()


def manage(*arguments: str) -> None:
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@dataclass(frozen=True)
class Server:
    """A running gunicorn: its address, its master's process id and its access log."""

    address: str
    pid: int
    log: Path

    def cpu(self) -> float:
        """Seconds of CPU that the master and its workers have used; the database's are not among them."""
        pids = [self.pid, *children(self.pid)]
        return sum(sum(int(n) for n in stat(pid)[11:13]) for pid in pids) / TICKS

    def requests(self) -> list[tuple[str, int, float, str]]:
        """(method, status, milliseconds inside the request, path) of all that were answered so far."""
        rows = (line.split(" ", 3) for line in self.log.read_text().splitlines())
        return [(method, int(status), int(micro) / 1000, path) for method, status, micro, path in rows]


def stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def database_cpu(name: str) -> float:
    """Seconds of CPU that PostgreSQL's processes for a database have used; 0 where they are on another machine."""
    used = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            if title.startswith(b"postgres:") and f" {name} ".encode() in title:
                used += sum(int(n) for n in stat(int(folder.name))[11:13]) / TICKS
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return used


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def serving(workers: int, threads: int) -> Iterator[Server]:
    """gunicorn on a free port, until the block ends."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    log = Path(os.environ["PLUMBLINE_VAR"]) / "access.log"
    log.write_text("")
    command = [
        sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}", "--workers", str(workers),
        "--threads", str(threads), "--keep-alive", "65", "--access-logfile", str(log), "--access-logformat", LOG_LINE,
        "--log-level", "warning",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        wait_for(port, process)
        yield Server(f"http://127.0.0.1:{port}", process.pid, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_for(port: int, process: subprocess.Popen) -> None:
    for _ in range(300):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit("gunicorn did not start.")


def annotators(project, count: int) -> list[str]:
    """So many members of the project; returns a session cookie for each."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from annotate.models import Membership, User

    cookies = []
    there = User.objects.count()
    for number in range(there, there + count):
        user = User(username=f"annotator-{number}", email=f"annotator-{number}@example.org")
        user.set_unusable_password()
        user.save()
        Membership.objects.create(project=project, user=user)
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "annotate.sessions.ByName"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        cookies.append(session.session_key)
    return cookies
