"""Task types as users write them, for the API's tests: nested payloads, failures, log lines."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.domain.retry import Backoff
from app.handlers import TaskContext, task_type

PHRASE = "Съешь ещё этих мягких французских булок, да выпей чаю 🫖"


class Line(BaseModel):
    article: str = Field(min_length=1)
    count: int = Field(ge=1)


class Address(BaseModel):
    city: str


class Order(BaseModel):
    """Something of every shape that a payload can have."""

    model_config = ConfigDict(extra="forbid")

    lines: list[Line] = []
    labels: dict[str, int] = {}
    deliver_to: Address | list[Address] | None = None
    total: float | None = Field(None, alias="итого")


@task_type(
    "order",
    max_attempts=4,
    backoff=Backoff(initial_seconds=5, factor=3, max_seconds=50, jitter=False),
    timeout_seconds=20,
    priority="HIGH",
    example={"lines": [{"article": "чай", "count": 2}], "итого": 10.5},
)
def order(payload: Order, context: TaskContext) -> dict[str, Any]:
    """Принять заказ и ответить, что принято."""
    context.logger.info(PHRASE)
    context.progress(1, PHRASE)
    return {"принято": [line.article for line in payload.lines]}


class Nothing(BaseModel):
    """Нет полей."""


@task_type("fails", max_attempts=2, backoff=Backoff(initial_seconds=0))
def fails(payload: Nothing, context: TaskContext) -> None:
    """Log and fail; three attempts fail, the fourth completes."""
    context.logger.warning("строка %s", context.attempt)
    context.logger.info("a line")
    if context.attempt < 4:
        raise RuntimeError(f"Сбой {context.attempt}: {PHRASE}")


class Gullible(BaseModel):
    # So that its validator fails without any value, too.
    model_config = ConfigDict(validate_default=True)

    value: str = ""

    @field_validator("value")
    @classmethod
    def _trust(cls, value: str) -> str:
        return {"known": value}[value]


@task_type("gullible")
def gullible(payload: Gullible, context: TaskContext) -> None:
    """Have a validator with a bug in it."""
