"""A task type whose payload may be anything, for the API's tests."""

from pydantic import BaseModel, ConfigDict

from app.handlers import TaskContext, task_type


class Open(BaseModel):
    """Whatever there is."""

    model_config = ConfigDict(extra="allow")


@task_type("open")
def open_(payload: Open, context: TaskContext) -> None:
    """Take everything and do nothing."""
