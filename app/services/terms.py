"""The terms of a task's attempts: what it says itself, or its type, or else the service."""

from dataclasses import dataclass

from app.domain.retry import Backoff
from app.domain.task import ClaimedTask
from app.handlers import registry
from app.handlers.registry import TaskType
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Terms:
    """The pauses between a task's attempts, and how long one of them may run, in seconds."""

    backoff: Backoff
    limit_seconds: float


def terms_of(task: ClaimedTask, settings: Settings) -> Terms:
    """Return a task's terms; of a type that this process does not know, the service's own."""
    of_type = type_terms(registry.get(task.type), settings)
    limit = of_type.limit_seconds
    if task.timeout_seconds is not None:
        limit = min(task.timeout_seconds, float(settings.time_limit_seconds))
    return Terms(task.backoff or of_type.backoff, limit)


def type_terms(task_type: TaskType | None, settings: Settings) -> Terms:
    """Return the terms of a type's tasks that say nothing themselves."""
    longest = float(settings.time_limit_seconds)
    if task_type is None:
        return Terms(Backoff(), longest)
    return Terms(task_type.backoff, min(task_type.timeout_seconds or longest, longest))
