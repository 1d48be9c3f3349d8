"""The work that `POST /tasks/` asks for: time passes, and progress is reported."""

import time

from pydantic import BaseModel, ConfigDict

from app.handlers.context import TaskContext
from app.handlers.registry import task_type
from app.settings import get_settings

NAME = "simulated_work"
_STEPS = 20


class SimulatedWork(BaseModel):
    """No choices: how long it takes is the service's setting SIMULATED_WORK_SECONDS."""

    model_config = ConfigDict(extra="forbid")


@task_type(NAME)
def simulated_work(payload: SimulatedWork, context: TaskContext) -> str:
    """Pass the set number of seconds in equal steps."""
    seconds = get_settings().simulated_work_seconds
    for step in range(1, _STEPS + 1):
        time.sleep(seconds / _STEPS)
        context.progress(step / _STEPS, f"step {step} of {_STEPS}")
    return f"Task {context.task_id} completed after {seconds:g} s of simulated work."
