"""The work that `POST /tasks/retry` asks for: it fails a set number of times and then succeeds."""

import time

from pydantic import BaseModel, Field

from app.domain.retry import Backoff
from app.handlers.context import TaskContext
from app.handlers.registry import task_type

NAME = "retry"
_SECONDS = 0.2


class Retry(BaseModel):
    """How often to fail."""

    retry_count: int = Field(default=3, ge=1, le=20)


@task_type(NAME, backoff=Backoff(initial_seconds=0.5, factor=1.5, max_seconds=5))
def retry(payload: Retry, context: TaskContext) -> str:
    """Fail until there have been `retry_count` failures; a lost worker does not count as one."""
    time.sleep(_SECONDS)
    if context.failures < payload.retry_count:
        raise RuntimeError(f"Failure {context.failures + 1} of {payload.retry_count}, on purpose.")
    return f"Task {context.task_id} completed after {context.failures} failures."
