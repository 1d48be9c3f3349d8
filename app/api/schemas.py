"""The bodies of the wire contract that clients get back. What they send: `app.api.requests`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.api.times import Time
from app.domain.history import AttemptOutcome
from app.domain.priority import Priority, QueueName
from app.domain.status import Status


class BackoffOut(BaseModel):
    """The pauses between attempts."""

    model_config = ConfigDict(from_attributes=True)

    initial_seconds: float
    factor: float
    max_seconds: float
    jitter: bool


class TaskOut(BaseModel):
    """A task."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    description: str | None
    priority: Priority
    status: Status
    created_at: Time = Field(description="When it was stored")
    started_at: Time | None = Field(description="When its latest attempt began")
    completed_at: Time | None = Field(description="When it came to its final status")
    result: Any = Field(description="What its handler returned, any JSON value")
    error_info: str | None = Field(description="The latest error, in one line")
    type: str = Field(description="Which handler does its work")
    payload: dict[str, Any] = Field(description="What the handler is told, without secrets")
    queue: QueueName = Field(description="Where it waits; raised when it has waited long")
    attempt: int = Field(description="The number of its latest attempt, 0 before the first")
    max_attempts: int = Field(description="How many attempts it may have")
    backoff: BackoffOut = Field(description="The pauses between attempts")
    timeout_seconds: float = Field(description="The longest that an attempt may take, in seconds")
    run_at: Time = Field(description="The earliest time of its next attempt")
    updated_at: Time
    cancel_requested_at: Time | None = Field(description="When its cancel was accepted")
    worker: str | None = Field(description="The worker process of its latest attempt, NODE/PID")
    progress: float = Field(ge=0, le=1, description="How much of the work is done")
    progress_note: str | None = Field(description="What its handler says it is doing")


class AttemptOut(BaseModel):
    """One attempt at a task."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    worker: str = Field(description="The worker process that ran it, NODE/PID")
    started_at: Time
    finished_at: Time | None = Field(description="null while it runs")
    outcome: AttemptOutcome | None = Field(description="How it ended; null while it runs")
    error: str | None = Field(description="What went wrong, in one line")
    traceback: str | None = Field(description="Where in the handler, if it raised")


class EventOut(BaseModel):
    """One line of a task's timeline."""

    model_config = ConfigDict(from_attributes=True)

    at: Time
    event: str = Field(description="The name of the change")
    status: Status = Field(description="The task's status after it")
    attempt: int = Field(description="The number of the task's latest attempt then")
    detail: str | None = Field(description="More about it, for people")


class LogLineOut(BaseModel):
    """One line that a task's handler logged."""

    model_config = ConfigDict(from_attributes=True)

    at: Time
    attempt: int
    level: str
    message: str


class TypeDefaultsOut(BaseModel):
    """What holds for a task of a type unless it says otherwise."""

    priority: Priority
    max_attempts: int
    backoff: BackoffOut
    timeout_seconds: float = Field(description="The longest that an attempt may take, in seconds")


class TypeLimitsOut(BaseModel):
    """The most that a task of a type may ask for and leave."""

    max_attempts: int
    timeout_seconds: float
    delay_seconds: float
    payload_bytes: int
    result_bytes: int


class TaskTypeOut(BaseModel):
    """A kind of work that a task can ask for."""

    name: str
    description: str
    payload_schema: dict[str, Any] = Field(description="The payload's JSON Schema (2020-12)")
    example: dict[str, Any] = Field(description="A payload to begin with")
    defaults: TypeDefaultsOut
    limits: TypeLimitsOut


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
