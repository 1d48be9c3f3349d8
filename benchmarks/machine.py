"""What was measured where, and how: the head of the report."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.servers import ROOT

_PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "celery",
    "kombu",
    "redis",
    "sqlalchemy",
    "psycopg2-binary",
    "pydantic",
)

_METHOD = """\
Written by `make bench`. Each ratio is of two figures that were taken one after the other, on the
same servers and the same cores; shown is the median of the rounds with their least and most. wrk
makes the load and every answer is checked; each answered task is then looked for in the database,
and each that was to be run must have been run to its end once, or there is no figure. Nothing is
switched off: `fsync` and `synchronous_commit` are on, and a task is answered after its commit.

The bare route is FastAPI alone in its fastest form: the same body, checked by the same model, and
an answer of the same fields, without database or broker (`benchmarks/bare_route.py`). Bare Celery
is Celery's own consumer with our configuration and no database (`benchmarks/bare_celery.py`).
Tasks to be run all lie ready while the worker is held, and time counts from when it goes on.

The peers stand behind the same route, with the same body and answer, in environments of their own
(`benchmarks/peers/`), and run in two processes where they run tasks. procrastinate and pgqueuer
store a task in PostgreSQL before they answer. taskiq, arq, dramatiq, RQ and huey store it in Redis
alone, where a power cut may lose it. None of them keeps what this service keeps of a task: title,
status with its times, priority, result, history; that is what their users would add.

All connections of a row ask for the same. Those who ask for the same page at the same time share
one reading of it, which flatters the rows of pages; the row of a million tasks and the plot have
one connection, and no such help.
"""


def about(facts: Mapping[str, str], *, rounds: int, seconds: float, tasks: int, quick: bool) -> str:
    """Return what a reader has to know of a run."""
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    lines = [
        "# How fast it is",
        "",
        *(["**A quick look, not to be published.**", ""] if quick else []),
        _METHOD,
        f"- Date: {datetime.now(UTC):%Y-%m-%d}, commit {_commit()}",
        f"- Machine: {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB,"
        f" {platform.system()} {platform.release()}",
        f"- Python {platform.python_version()}, PostgreSQL {facts['server_version']},"
        f" Redis or Valkey {facts['redis_version']}",
        f"- {packages}",
        f"- {rounds} rounds, {seconds:g} s of load, {tasks:,} tasks to run",
        "",
    ]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((l.partition(": ")[2] for l in lines if l.startswith("model name")), "unknown")
