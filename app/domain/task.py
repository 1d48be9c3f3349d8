"""A task as the rest of the service sees it: a value read from the database, never a live row."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.domain.priority import Priority, QueueName
from app.domain.retry import Backoff
from app.domain.status import Status


@dataclass(frozen=True, slots=True)
class ClaimedTask:
    """What a worker needs to know of a task to run an attempt at it: a part of its row.

    The rest, which may be large, would be sent to it and taken apart for each attempt.
    """

    id: int
    type: str
    payload: dict[str, Any]
    attempt: int
    max_attempts: int
    failures: int
    # None where the type's own holds.
    backoff: Backoff | None
    timeout_seconds: float | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Task(ClaimedTask):
    """One row of the task table, at the moment it was read. All times are in UTC."""

    title: str
    description: str | None
    priority: Priority
    status: Status
    queue: QueueName
    crashes: int
    run_at: datetime
    dispatched_at: datetime | None
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    cancel_requested_at: datetime | None
    worker: str | None
    progress: float
    progress_note: str | None
    result: Any
    error_info: str | None


def idempotency_token(task: ClaimedTask) -> str:
    """Return what is the same for every attempt of a task and for no other task.

    It is made of the task's id and time of creation, so that tasks of two installations differ.
    """
    # In UTC, since the zone in which a time comes is the session's, which a pooler may change.
    created_at = task.created_at.astimezone(UTC).isoformat()
    return str(uuid.uuid5(_TOKENS, f"{task.id} {created_at}"))


# Any constant will do (RFC 9562, section 5.5).
_TOKENS = uuid.UUID("3f1c2b7e-5b0d-4c39-9a52-6f3f0d1c9b64")


@dataclass(frozen=True, slots=True)
class NewTask:
    """What the API hands over to be stored.

    It is due at `run_at`, or `delay_seconds` after it was stored, or at once.
    """

    title: str
    description: str | None
    priority: Priority
    type: str
    payload: dict[str, Any]
    max_attempts: int
    backoff: Backoff | None = None
    timeout_seconds: float | None = None
    run_at: datetime | None = None
    delay_seconds: float = 0.0
    # About how many bytes its texts and its payload have.
    size: int = 0


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """What a message about a task says: a hint that the task may be run, and what Flower shows."""

    task_id: int
    queue: QueueName
    type: str
    title: str
    # The database's time when the publisher read the task. It orders messages against the rows.
    dispatched_at: datetime
