"""Work that takes as long as it is told to."""

import time

from pydantic import Field

from app.handlers.context import TaskContext
from app.handlers.registry import task_type
from app.handlers.trouble import TroublePayload

_STEPS = 100


class Slow(TroublePayload):
    """For how long."""

    seconds: float = Field(default=10, ge=0, le=86_400, description="How long it takes")


@task_type("slow", example={"seconds": 10})
def slow(payload: Slow, context: TaskContext) -> str:
    """Take the given number of seconds, and report progress."""
    context.logger.info("This takes %g s on purpose.", payload.seconds)
    for step in range(1, _STEPS + 1):
        time.sleep(payload.seconds / _STEPS)
        context.progress(step / _STEPS, f"{step} %")
    return f"Task {context.task_id} completed after {payload.seconds:g} s."
