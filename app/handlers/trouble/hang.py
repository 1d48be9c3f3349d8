"""Work that never ends by itself."""

import time

from pydantic import Field

from app.handlers.context import TaskContext
from app.handlers.registry import task_type
from app.handlers.trouble import TroublePayload


class Hang(TroublePayload):
    """How badly."""

    deaf: bool = Field(
        default=False, description="true: it ignores being stopped, so that its process is killed"
    )


@task_type("hang", timeout_seconds=60, example={"deaf": False})
def hang(payload: Hang, context: TaskContext) -> None:
    """Never end: until the attempt's time is up, or the task is cancelled."""
    context.logger.info("This hangs on purpose.")
    while True:
        try:
            time.sleep(1)
        except BaseException:
            if not payload.deaf:
                raise
