"""Reads a task's past: its attempts, its timeline, and what its handler logged."""

from collections.abc import Callable
from typing import TypeVar

from app.db import history as store
from app.db import tasks
from app.db.engine import Connection, Database
from app.domain.history import Attempt, Event, LogLine
from app.errors import TaskNotFound

T = TypeVar("T")


def attempts_of(database: Database, task_id: int, *, skip: int, limit: int) -> list[Attempt]:
    """Return a task's attempts, first to last. Raises TaskNotFound, DatabaseUnavailable."""
    return _read(database, task_id, lambda c: store.attempts_of(c, task_id, skip=skip, limit=limit))


def events_of(database: Database, task_id: int, *, skip: int, limit: int) -> list[Event]:
    """Return a task's timeline, oldest first. Raises TaskNotFound, DatabaseUnavailable."""
    return _read(database, task_id, lambda c: store.events_of(c, task_id, skip=skip, limit=limit))


def lines_of(
    database: Database, task_id: int, *, attempt: int | None, skip: int, limit: int
) -> list[LogLine]:
    """Return what a task's attempts, or one of them, logged, oldest first.

    Raises TaskNotFound, DatabaseUnavailable.
    """
    return _read(
        database,
        task_id,
        lambda c: store.lines_of(c, task_id, attempt=attempt, skip=skip, limit=limit),
    )


def _read(database: Database, task_id: int, query: Callable[[Connection], list[T]]) -> list[T]:
    with database.transaction() as connection:
        found = query(connection)
        # Every task has a timeline, but maybe no attempt and no line yet.
        if not found and not tasks.exists(connection, task_id):
            raise TaskNotFound(task_id)
    return found
