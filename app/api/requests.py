"""The bodies of the wire contract that clients send."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
)

from app.api.fields import Description, Time, Title, whole
from app.domain.priority import Priority
from app.domain.retry import LONGEST_PAUSE_SECONDS, MOST_ATTEMPTS
from app.handlers import simulated_work
from app.services.drafts import LONGEST_DELAY_SECONDS, Draft

_EXAMPLE: dict[str, JsonValue] = {
    "title": "Monthly report",
    "description": "Collect the figures of November",
    "priority": "HIGH",
}


def without_defaults(schema: dict[str, Any]) -> None:
    """Leave the defaults out of a schema, which are not what holds when a field is left out."""
    for field in schema["properties"].values():
        # Clients generated from the document would send it, and so change what should stay.
        field.pop("default", None)


class _Request(BaseModel):
    # A misspelt field would otherwise be a wish that silently goes unheard.
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})


class NewTaskBody(_Request):
    """What every way of creating a task has in common."""

    title: Title
    description: Description = None
    priority: Priority = Field(Priority.MEDIUM, description="Which queue it waits in")

    def draft(self, **more: Any) -> Draft:
        """Return the task that is asked for; `more` are fields of it that are not the body's."""
        # A priority that was left out is for the task's type to say.
        priority = self.priority if "priority" in self.model_fields_set else None
        return Draft(self.title, self.description, priority, **more)


_Whole = BeforeValidator(whole)


class BackoffIn(BaseModel):
    """The pauses between attempts; what is left out, or null, is as the task's type has it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=without_defaults)

    initial_seconds: float | None = Field(
        None,
        strict=True,
        ge=0,
        le=LONGEST_PAUSE_SECONDS,
        allow_inf_nan=False,
        description="The pause after the first failure, in seconds",
    )
    factor: float | None = Field(
        None,
        strict=True,
        ge=1,
        le=100,
        allow_inf_nan=False,
        description="By how much each pause is longer than the one before",
    )
    max_seconds: float | None = Field(
        None,
        strict=True,
        ge=0,
        le=LONGEST_PAUSE_SECONDS,
        allow_inf_nan=False,
        description="The longest pause, in seconds",
    )
    jitter: StrictBool | None = Field(
        None, description="Whether a pause is drawn evenly from zero to its length"
    )


def _create_schema(schema: dict[str, Any]) -> None:
    schema["examples"] = [_EXAMPLE]
    # A priority that is left out is the type's.
    without_defaults(schema)


class TaskCreate(NewTaskBody):
    """A task to create. Of what its type decides, null means the same as leaving it out."""

    model_config = ConfigDict(json_schema_extra=_create_schema)

    priority: Priority = Field(
        Priority.MEDIUM,
        description="Which queue it waits in; if left out, what its type says, mostly MEDIUM",
    )
    type: str | None = Field(
        None, description="What is to be done; GET /task-types/ tells more about each type"
    )
    payload: dict[str, Any] | None = Field(None, description="What its type needs to know")
    max_attempts: Annotated[StrictInt, Field(ge=1, le=MOST_ATTEMPTS), _Whole] | None = Field(
        None, description="How many attempts it may have"
    )
    backoff: BackoffIn | None = Field(None, description="The pauses between attempts")
    timeout_seconds: float | None = Field(
        None,
        strict=True,
        gt=0,
        allow_inf_nan=False,
        description="The longest that an attempt may take; at most TIME_LIMIT_SECONDS",
    )
    run_at: Time | None = Field(
        None, description="When to start it, with a zone; a time that is past means at once"
    )
    delay_seconds: float | None = Field(
        None,
        strict=True,
        ge=0,
        le=LONGEST_DELAY_SECONDS,
        allow_inf_nan=False,
        description="In how many seconds to start it, instead of run_at",
    )

    def draft(self, **more: Any) -> Draft:
        """Return the task that is asked for."""
        return super().draft(
            type=simulated_work.NAME if self.type is None else self.type,
            payload=self.payload or {},
            max_attempts=self.max_attempts,
            backoff=None if self.backoff is None else self.backoff.model_dump(exclude_none=True),
            timeout_seconds=self.timeout_seconds,
            run_at=self.run_at,
            delay_seconds=self.delay_seconds,
            **more,
        )


class BrokenTaskCreate(NewTaskBody):
    """A task that fails for certain."""

    force_error: StrictBool = Field(True, description="false lets it succeed after all")


class RetryTaskCreate(NewTaskBody):
    """A task that fails a number of times and then completes."""

    retry_count: Annotated[StrictInt, _Whole] = Field(
        3, ge=1, le=20, description="How often it fails, each time followed by an automatic retry"
    )


def _update_schema(schema: dict[str, Any]) -> None:
    schema["examples"] = [_EXAMPLE]
    without_defaults(schema)


class TaskUpdate(_Request):
    """What to change of a task; what is left out stays, and null clears the description."""

    model_config = ConfigDict(json_schema_extra=_update_schema)

    # None of these defaults is read, since only the fields that were given count.
    title: Title = ""
    description: Description = None
    priority: Priority = Priority.MEDIUM
