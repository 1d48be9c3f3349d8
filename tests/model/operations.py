"""What an operation is: a call of a real use case, and what its answer must agree with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.db.engine import Database
from app.domain.task import TaskMessage
from tests.model.broker import Broker


@dataclass(frozen=True, slots=True)
class Returned:
    """The use case returned; `disturbed` if it met trouble on the way and tried once more."""

    value: Any
    disturbed: bool = False


@dataclass(frozen=True, slots=True)
class Raised:
    """The use case raised one of the service's own errors."""

    error: Exception


Ended = Returned | Raised


def _nothing(ended: Ended) -> None:
    """Stand for a check that there is not."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call, which may take several statements and transactions."""

    name: str
    call: Callable[[Database, Broker], Any]
    # Compares the answer with the world, and lets the model learn from it.
    finish: Callable[[Ended], None] = _nothing
    # The lines that it may add to timelines.
    writes: frozenset[str] = frozenset()
    creates: bool = False
    # The only task that may vanish by it.
    deletes: int | None = None
    # The worker whose attempt this speaks about, and the message that it follows.
    worker: str | None = None
    message: TaskMessage | None = None
