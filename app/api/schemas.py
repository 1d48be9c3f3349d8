"""The bodies of the wire contract: what a client may send, and what it gets back."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    TypeAdapter,
    WithJsonSchema,
)

from app.domain.priority import Priority, QueueName
from app.domain.status import Status
from app.domain.task import Task


def _storable(text: str) -> str:
    if "\0" in text:
        # PostgreSQL's manual, "Character Types": the code zero cannot be stored.
        raise ValueError("must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        # An escape such as \ud800 alone is valid JSON, but no character.
        raise ValueError("must not contain a lone surrogate") from None
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _whole(number: Any) -> Any:
    # To JSON, 3.0 is an integer (JSON Schema, "Validation", section 6.1.1); to Python it is none.
    return int(number) if isinstance(number, float) and number.is_integer() else number


# The patterns only describe; the validators say in words what is wrong.
_NO_NUL = r"^[^\u0000]*$"
_NO_NUL_NOT_BLANK = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"
Text = Annotated[
    str, AfterValidator(_storable), WithJsonSchema({"type": "string", "pattern": _NO_NUL})
]
Title = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        description="What the task is about; not blank",
        json_schema_extra={"pattern": _NO_NUL_NOT_BLANK},
    ),
    AfterValidator(_storable),
    AfterValidator(_not_blank),
]
Description = Annotated[Text | None, Field(description="More about it, of any length")]

_EXAMPLE: dict[str, JsonValue] = {
    "title": "Monthly report",
    "description": "Collect the figures of November",
    "priority": "HIGH",
}


class _Request(BaseModel):
    # A misspelt field would otherwise be a wish that silently goes unheard.
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})


class TaskCreate(_Request):
    """A task to create."""

    title: Title
    description: Description = None
    priority: Priority = Field(Priority.MEDIUM, description="Which queue it waits in")


class BrokenTaskCreate(TaskCreate):
    """A task that fails for certain."""

    force_error: StrictBool = Field(True, description="false lets it succeed after all")


class RetryTaskCreate(TaskCreate):
    """A task that fails a number of times and then completes."""

    retry_count: Annotated[StrictInt, BeforeValidator(_whole)] = Field(
        3, ge=1, le=20, description="How often it fails, each time followed by an automatic retry"
    )


def _without_defaults(schema: dict[str, Any]) -> None:
    schema["examples"] = [_EXAMPLE]
    for field in schema["properties"].values():
        # Clients generated from the document would send it, and so change what should stay.
        field.pop("default", None)


class TaskUpdate(_Request):
    """What to change of a task; what is left out stays, and null clears the description."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    # None of these defaults is read, since only the fields that were given count.
    title: Title = ""
    description: Description = None
    priority: Priority = Priority.MEDIUM


class TaskOut(BaseModel):
    """A task."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    description: str | None
    priority: Priority
    status: Status
    created_at: datetime = Field(description="When it was stored")
    started_at: datetime | None = Field(description="When its latest attempt began")
    completed_at: datetime | None = Field(description="When it came to its final status")
    result: Any = Field(description="What its handler returned, any JSON value")
    error_info: str | None = Field(description="The latest error, in one line")
    type: str = Field(description="Which handler does its work")
    payload: dict[str, Any] = Field(description="What the handler is told")
    queue: QueueName = Field(description="Where it waits; raised when it has waited long")
    attempt: int = Field(description="The number of its latest attempt, 0 before the first")
    max_attempts: int = Field(description="How many attempts it may have")
    run_at: datetime = Field(description="The earliest time of its next attempt")
    updated_at: datetime
    cancel_requested_at: datetime | None = Field(description="When its cancel was accepted")
    worker: str | None = Field(description="The worker process of its latest attempt, NODE/PID")
    progress: float = Field(ge=0, le=1, description="How much of the work is done")
    progress_note: str | None = Field(description="What its handler says it is doing")


_LIST = TypeAdapter(list[TaskOut])


def task_json(task: Task) -> bytes:
    """Return a task as the JSON of the wire contract."""
    return TaskOut.model_validate(task).model_dump_json().encode()


def tasks_json(tasks: list[Task]) -> bytes:
    """Return tasks as a JSON array."""
    return _LIST.dump_json(_LIST.validate_python(tasks, from_attributes=True))


class FieldError(BaseModel):
    """What is wrong with one field of a request."""

    in_: str = Field(alias="in", description="body, query or path")
    pointer: str = Field(description="The field, as the URI fragment of a JSON pointer (RFC 6901)")
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


class ValidationProblem(Problem):
    """An error that lies in the request."""

    errors: list[FieldError]


class CheckOut(BaseModel):
    """The state of one part of the service."""

    ok: bool
    milliseconds: float = Field(description="How long it took to say so")
    detail: str


class OldestWaitingOut(CheckOut):
    """The task that has waited longest among those that are due; not ok only while unknown."""

    task_id: int | None = Field(description="The task, or null when none waits")
    seconds: float | None = Field(description="How long ago it became due")


class ChecksOut(BaseModel):
    """The state of each part."""

    database: CheckOut
    broker: CheckOut
    workers: CheckOut
    oldest_waiting: OldestWaitingOut


class HealthOut(BaseModel):
    """The state of the service."""

    status: str
    checks: ChecksOut


class HealthProblem(Problem):
    """A service that cannot do its work now, and why."""

    checks: ChecksOut
