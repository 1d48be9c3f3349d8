"""Writes tasks and their past as the JSON of the wire contract: what is not to be seen left out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json

from app.api.schemas import AttemptOut, EventOut, LogLineOut
from app.api.times import rfc3339
from app.domain.history import Attempt, Event, LogLine
from app.domain.task import Task
from app.handlers import registry
from app.services.terms import terms_of
from app.settings import get_settings

_ATTEMPTS = TypeAdapter(list[AttemptOut])
_EVENTS = TypeAdapter(list[EventOut])
_LINES = TypeAdapter(list[LogLineOut])


def task_json(task: Task) -> bytes:
    """Return a task that has just been stored or changed."""
    return to_json(_out(task))


def attempts_json(attempts: Sequence[Attempt]) -> bytes:
    """Return a task's attempts as an array."""
    return _ATTEMPTS.dump_json(_ATTEMPTS.validate_python(attempts, from_attributes=True))


def events_json(events: Sequence[Event]) -> bytes:
    """Return a task's timeline as an array."""
    return _EVENTS.dump_json(_EVENTS.validate_python(events, from_attributes=True))


def lines_json(lines: Sequence[LogLine]) -> bytes:
    """Return the lines that a task's handler logged as an array."""
    return _LINES.dump_json(_LINES.validate_python(lines, from_attributes=True))


def _out(task: Task) -> dict[str, Any]:
    """Return a task as `TaskOut` describes it; to make a model takes longer than to write it."""
    terms = terms_of(task, get_settings())
    created_at = rfc3339(task.created_at)
    # The same until something happens to it, and each costs more than all the numbers here.
    run_at = created_at if task.run_at == task.created_at else rfc3339(task.run_at)
    updated_at = created_at if task.updated_at == task.created_at else rfc3339(task.updated_at)
    # Plain strings, which are written several times as fast as the enumerations' own kind.
    return {
        "id": task.id,
        "title": task.title,
        "description": task.description,
        "priority": task.priority.value,
        "status": task.status.value,
        "created_at": created_at,
        "started_at": _time(task.started_at),
        "completed_at": _time(task.completed_at),
        "result": task.result,
        "error_info": task.error_info,
        "type": task.type,
        "payload": registry.shown(task.type, task.payload),
        "queue": task.queue.value,
        "attempt": task.attempt,
        "max_attempts": task.max_attempts,
        "backoff": {
            "initial_seconds": float(terms.backoff.initial_seconds),
            "factor": float(terms.backoff.factor),
            "max_seconds": float(terms.backoff.max_seconds),
            "jitter": terms.backoff.jitter,
        },
        "timeout_seconds": terms.limit_seconds,
        "run_at": run_at,
        "updated_at": updated_at,
        "cancel_requested_at": _time(task.cancel_requested_at),
        "worker": task.worker,
        "progress": task.progress,
        "progress_note": task.progress_note,
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else rfc3339(time)
