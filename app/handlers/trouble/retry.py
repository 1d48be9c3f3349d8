"""The work that `POST /tasks/retry` asks for: it fails a set number of times and then succeeds."""

import time

from pydantic import Field

from app.domain.retry import Backoff
from app.handlers.context import TaskContext
from app.handlers.registry import task_type
from app.handlers.trouble import RETRY, TroublePayload

_SECONDS = 0.2
_MOST_FAILURES = 20


class Retry(TroublePayload):
    """How often to fail."""

    retry_count: int = Field(
        default=3, ge=1, le=_MOST_FAILURES, description="How many attempts fail"
    )


@task_type(
    RETRY,
    max_attempts=_MOST_FAILURES + 1,
    # Without jitter: whoever watches is to see the pauses grow.
    backoff=Backoff(initial_seconds=0.5, factor=1.5, max_seconds=5, jitter=False),
    example={"retry_count": 2},
)
def retry(payload: Retry, context: TaskContext) -> str:
    """Fail `retry_count` times, be retried each time, and then complete.

    A lost worker does not count as a failure.
    """
    time.sleep(_SECONDS)
    if context.failures < payload.retry_count:
        raise RuntimeError(f"Failure {context.failures + 1} of {payload.retry_count}, on purpose.")
    return f"Task {context.task_id} completed after {context.failures} failures."
