"""Work that takes its process along, as a crash in native code does."""

import os
import signal

from pydantic import Field

from app.handlers.context import TaskContext
from app.handlers.registry import task_type
from app.handlers.trouble import TroublePayload


class Exit(TroublePayload):
    """How often."""

    times: int = Field(
        default=1000, ge=0, le=1000, description="How many attempts end so; the next completes"
    )


@task_type("exit", example={"times": 1})
def exit_(payload: Exit, context: TaskContext) -> str:
    """Kill the worker process that runs it. Another starts; CRASH_LIMIT ends the task."""
    if context.attempt > payload.times:
        return f"Task {context.task_id} completed in attempt {context.attempt}."
    os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("The process outlived being killed.")
