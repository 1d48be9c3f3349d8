"""The terms of a task's attempts: what it says itself, or its type, or else the service."""

from dataclasses import dataclass

from app.domain.retry import Backoff
from app.domain.task import Task
from app.handlers import registry
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Terms:
    """The pauses between a task's attempts, and how long one of them may run, in seconds."""

    backoff: Backoff
    limit_seconds: float


def terms_of(task: Task, settings: Settings) -> Terms:
    """Return a task's terms; of a type that this process does not know, the service's own."""
    task_type = registry.get(task.type)
    backoff = task.backoff or (task_type.backoff if task_type else Backoff())
    limit = task.timeout_seconds or (task_type.timeout_seconds if task_type else None)
    longest = float(settings.time_limit_seconds)
    return Terms(backoff, longest if limit is None else min(limit, longest))
