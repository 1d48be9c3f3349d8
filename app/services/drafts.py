"""Turns what a client asks for into a task to store: its type's defaults, and every check on it."""

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain.priority import Priority
from app.domain.retry import Backoff
from app.domain.stored_json import stored_size
from app.domain.task import NewTask
from app.domain.text import one_line
from app.errors import Fault, InvalidTask
from app.handlers import registry, simulated_work
from app.handlers.registry import PayloadError, TaskType
from app.settings import Settings

# How far ahead a task may be scheduled, in seconds: a year, also one with a leap day.
LONGEST_DELAY_SECONDS = 366 * 86_400
_LONGEST_REASON = 500
# How deep a payload may be nested; deeper ones are no honest work, and JSON tools give up on them.
_DEEPEST = 100
_TOO_DEEP = Fault(("payload",), f"must not be nested deeper than {_DEEPEST} levels")


@dataclass(frozen=True, slots=True)
class Draft:
    """A task as a client describes it. None means what the task's type says, or at once."""

    title: str
    description: str | None
    priority: Priority | None
    type: str = simulated_work.NAME
    payload: dict[str, Any] = field(default_factory=dict)
    max_attempts: int | None = None
    # The fields of a Backoff that were given.
    backoff: dict[str, Any] | None = None
    timeout_seconds: float | None = None
    run_at: datetime | None = None
    delay_seconds: float | None = None


def new_task(draft: Draft, settings: Settings) -> NewTask:
    """Return the task to store.

    Raises:
        InvalidTask: the type is unknown, the payload does not fit it, or a limit is exceeded.
    """
    task_type = registry.get(draft.type)
    if task_type is None:
        known = ", ".join(registry.names())
        raise InvalidTask([Fault(("type",), f"There is no such task type. Known are: {known}")])
    # First, so that nothing below looks at more than that.
    size = _size(draft.payload)
    faults = [
        *_payload_faults(task_type, draft.payload, size, settings),
        *_time_faults(draft, settings),
    ]
    if faults:
        raise InvalidTask(faults)
    return NewTask(
        title=draft.title,
        description=draft.description,
        priority=draft.priority or task_type.priority,
        type=task_type.name,
        payload=draft.payload,
        max_attempts=draft.max_attempts or task_type.max_attempts,
        backoff=_backoff(task_type, draft.backoff),
        timeout_seconds=draft.timeout_seconds,
        run_at=_in_utc(draft.run_at),
        delay_seconds=draft.delay_seconds or 0.0,
        size=len(draft.title) + len(draft.description or "") + (size or 0),
    )


def is_checked_quickly(draft: Draft) -> bool:
    """Return whether no code but ours, and pydantic's own, looks at a payload."""
    task_type = registry.get(draft.type)
    return task_type is None or task_type.is_checked_quickly


def _in_utc(time: datetime | None) -> datetime | None:
    """Return a time as PostgreSQL takes it, whose zones end at 15:59; None for long ago."""
    try:
        return None if time is None else time.astimezone(UTC)
    except OverflowError:
        # Before the year 1; one after the year 9999 is refused.
        return None


def _backoff(task_type: TaskType, given: dict[str, Any] | None) -> Backoff | None:
    """Return the type's back-off with what was given in its place; None for the type's own."""
    return None if given is None else replace(task_type.backoff, **given)


def _size(payload: dict[str, Any]) -> int | None:
    """Return how many bytes of JSON a payload has, or None where it is nested too deeply."""
    if not payload:
        return len("{}")
    try:
        return stored_size(payload)
    except RecursionError:
        return None


def _payload_faults(
    task_type: TaskType, payload: dict[str, Any], size: int | None, settings: Settings
) -> list[Fault]:
    if size is None:
        return [_TOO_DEEP]
    if size > settings.max_payload_bytes:
        allowed = settings.max_payload_bytes
        return [Fault(("payload",), f"is {size} bytes of JSON; {allowed} are allowed")]
    faults = _not_storable(payload) if payload else []
    if faults:
        return faults
    try:
        task_type.validated(payload)
    except PayloadError as error:
        # What a validator of the type's own says may be of any length.
        return [
            Fault(("payload", *path), one_line(reason, _LONGEST_REASON))
            for path, reason in error.faults
        ]
    return []


# The way to a value, from the inside: a whole path for each would take much memory.
_Way = tuple[Any, str | int]


def _path(way: _Way) -> tuple[str | int, ...]:
    steps: list[str | int] = []
    while way:
        way, step = way
        steps.append(step)
    return tuple(reversed(steps))


def _not_storable(payload: dict[str, Any]) -> list[Fault]:
    """Return the first value that PostgreSQL's jsonb cannot hold (its manual, "JSON Types")."""
    # Not by recursion: a payload may be nested as deep as Python lets its parser go.
    waiting: list[tuple[_Way, int, Any]] = [((None, "payload"), 1, payload)]
    while waiting:
        way, depth, value = waiting.pop()
        if depth > _DEEPEST:
            return [_TOO_DEEP]
        match value:
            case str():
                reason = _text_fault(value)
            case float() if not math.isfinite(value):
                reason = "must be a finite number"
            case dict():
                reason = next((fault for key in value if (fault := _text_fault(key))), None)
                waiting += [((way, key), depth + 1, item) for key, item in value.items()]
            case list():
                reason = None
                waiting += [((way, index), depth + 1, item) for index, item in enumerate(value)]
            case _:
                reason = None
        if reason:
            return [Fault(_path(way), reason)]
    return []


def _text_fault(text: str) -> str | None:
    if "\0" in text:
        return "must not contain the NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "must not contain a lone surrogate"
    return None


def _time_faults(draft: Draft, settings: Settings) -> list[Fault]:
    faults = []
    most = settings.time_limit_seconds
    if draft.timeout_seconds is not None and draft.timeout_seconds > most:
        reason = f"must be at most {most}, the longest that an attempt may take here"
        faults.append(Fault(("timeout_seconds",), reason))
    if draft.run_at is not None:
        if draft.delay_seconds is not None:
            faults.append(Fault(("delay_seconds",), "must not be given together with run_at"))
        if draft.run_at - datetime.now(UTC) > timedelta(seconds=LONGEST_DELAY_SECONDS):
            faults.append(Fault(("run_at",), "must be at most a year ahead"))
    return faults
