"""A task type that does nothing, so that what is measured is all that is around it."""

from pydantic import BaseModel

from app.handlers import TaskContext, task_type


class Nothing(BaseModel):
    """It needs to know nothing."""


@task_type("noop")
def noop(payload: Nothing, context: TaskContext) -> None:
    """Do nothing."""
