"""Work that takes memory, for seeing what a worker does who has little."""

import time

from pydantic import Field

from app.handlers.context import TaskContext
from app.handlers.registry import task_type
from app.handlers.trouble import TroublePayload

_MEGABYTE = 1_048_576


class Memory(TroublePayload):
    """How much, and for how long."""

    megabytes: int = Field(default=100, ge=1, le=16_384, description="How much it takes, in MiB")
    seconds: float = Field(default=5, ge=0, le=3600, description="How long it keeps all of it")


@task_type("memory", example={"megabytes": 100, "seconds": 5})
def memory(payload: Memory, context: TaskContext) -> str:
    """Take memory, megabyte by megabyte, keep it for some seconds, and give it back."""
    taken = []
    for number in range(1, payload.megabytes + 1):
        # Written to, so that the memory is really there.
        taken.append(bytearray(b"\1") * _MEGABYTE)
        context.progress(number / payload.megabytes, f"{number} MiB")
    time.sleep(payload.seconds)
    return f"Task {context.task_id} held {len(taken)} MiB for {payload.seconds:g} s."
