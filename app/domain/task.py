"""A task as the rest of the service sees it: a value read from the database, never a live row."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.priority import Priority, QueueName
from app.domain.status import Status


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the task table, at the moment it was read. All times are in UTC."""

    id: int
    title: str
    description: str | None
    priority: Priority
    status: Status
    type: str
    payload: dict[str, Any]
    queue: QueueName
    attempt: int
    max_attempts: int
    failures: int
    crashes: int
    run_at: datetime
    dispatched_at: datetime | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    cancel_requested_at: datetime | None
    worker: str | None
    progress: float
    progress_note: str | None
    result: Any
    error_info: str | None


@dataclass(frozen=True, slots=True)
class NewTask:
    """What the API hands over to be stored."""

    title: str
    description: str | None
    priority: Priority
    type: str
    payload: dict[str, Any]
    max_attempts: int


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """What a message about a task says: a hint that the task may be run, and what Flower shows."""

    task_id: int
    queue: QueueName
    type: str
    title: str
    # The database's time when the publisher read the task. It orders messages against the rows.
    dispatched_at: datetime
