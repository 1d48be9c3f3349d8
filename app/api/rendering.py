"""Writes tasks and their past as the JSON of the wire contract: what is not to be seen left out."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter

from app.api.schemas import AttemptOut, EventOut, LogLineOut, TaskOut
from app.domain.history import Attempt, Event, LogLine
from app.domain.task import Task
from app.handlers import registry
from app.services.terms import terms_of
from app.settings import get_settings

_TASKS = TypeAdapter(list[TaskOut])
_ATTEMPTS = TypeAdapter(list[AttemptOut])
_EVENTS = TypeAdapter(list[EventOut])
_LINES = TypeAdapter(list[LogLineOut])
_AS_STORED = tuple(field.name for field in fields(Task) if field.name in TaskOut.model_fields)


def task_json(task: Task) -> bytes:
    """Return a task."""
    return _out(task).model_dump_json().encode()


def tasks_json(tasks: Sequence[Task]) -> bytes:
    """Return tasks as an array."""
    return _TASKS.dump_json([_out(task) for task in tasks])


def attempts_json(attempts: Sequence[Attempt]) -> bytes:
    """Return a task's attempts as an array."""
    return _ATTEMPTS.dump_json(_ATTEMPTS.validate_python(attempts, from_attributes=True))


def events_json(events: Sequence[Event]) -> bytes:
    """Return a task's timeline as an array."""
    return _EVENTS.dump_json(_EVENTS.validate_python(events, from_attributes=True))


def lines_json(lines: Sequence[LogLine]) -> bytes:
    """Return the lines that a task's handler logged as an array."""
    return _LINES.dump_json(_LINES.validate_python(lines, from_attributes=True))


def _out(task: Task) -> TaskOut:
    terms = terms_of(task, get_settings())
    values: dict[str, Any] = {name: getattr(task, name) for name in _AS_STORED}
    values["payload"] = registry.shown(task.type, task.payload)
    values["backoff"] = terms.backoff
    values["timeout_seconds"] = terms.limit_seconds
    return TaskOut.model_validate(values, from_attributes=True)
