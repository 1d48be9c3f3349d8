"""The local run starts the commands that the READMEs document."""

import sys

from app.local import commands


def test_the_documented_commands_are_started() -> None:
    python = [sys.executable, "-m"]

    assert commands.migrate() == [*python, *["alembic", "upgrade", "head"]]
    assert commands.api(8000) == [
        *python,
        *["uvicorn", "main:app", "--host", "127.0.0.1", "--port", "8000"],
    ]
    assert commands.worker() == [
        *python,
        *["celery", "-A", "app.worker.celery", "worker", "--loglevel=info"],
    ]
    assert commands.flower(5555) == [
        *python,
        *["celery", "-A", "app.worker.celery", "flower", "--port=5555", "--address=127.0.0.1"],
    ]
