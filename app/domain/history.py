"""What is kept of a task's past: its attempts, its timeline, and what its handler logged."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "COMPLETED"
    # The handler raised, or its result cannot be stored.
    FAILED = "FAILED"
    # It ran longer than it may.
    TIMED_OUT = "TIMED_OUT"
    CANCELLED = "CANCELLED"
    # Its worker was shut down and handed the task back.
    RELEASED = "RELEASED"
    # Its worker process died or fell silent.
    LOST = "LOST"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a task; one that still runs has no end and no outcome. Times are in UTC."""

    number: int
    worker: str
    started_at: datetime
    finished_at: datetime | None
    outcome: AttemptOutcome | None
    error: str | None
    traceback: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a task's timeline. `status` and `attempt` are those after the change."""

    at: datetime
    event: str
    status: str
    attempt: int
    detail: str | None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a handler logged; `number` counts from 1 within its attempt."""

    attempt: int
    number: int
    at: datetime
    level: str
    message: str
