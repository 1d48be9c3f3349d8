"""The work that `POST /tasks/broken` asks for: it fails for certain, for testing with."""

import time

from pydantic import Field

from app.handlers.context import TaskContext
from app.handlers.registry import task_type
from app.handlers.trouble import BROKEN, TroublePayload

_SECONDS = 1.0


class Broken(TroublePayload):
    """Whether to fail."""

    force_error: bool = Field(default=True, description="false lets it succeed after all")


@task_type(BROKEN, example={"force_error": True})
def broken(payload: Broken, context: TaskContext) -> str:
    """Work for a second, then fail, or complete when told to."""
    time.sleep(_SECONDS)
    if payload.force_error:
        raise RuntimeError("This task was created broken on purpose.")
    return f"Task {context.task_id} completed: it was told not to fail."
