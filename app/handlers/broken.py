"""The work that `POST /tasks/broken` asks for: it fails for certain, for testing with."""

import time

from pydantic import BaseModel

from app.handlers.context import TaskContext
from app.handlers.registry import task_type

NAME = "broken"
_SECONDS = 1.0


class Broken(BaseModel):
    """Whether to fail."""

    force_error: bool = True


@task_type(NAME)
def broken(payload: Broken, context: TaskContext) -> str:
    """Work for a second, then raise, or return when told not to."""
    time.sleep(_SECONDS)
    if payload.force_error:
        raise RuntimeError("This task was created broken on purpose.")
    return f"Task {context.task_id} completed: it was told not to fail."
