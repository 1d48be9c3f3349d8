"""The errors of the service, raised by meaning; `app.api.problems` maps them to HTTP, once.

    ServiceError
      TaskNotFound            no task has this id
      TaskAlreadyFinal        the task has ended, so it cannot be cancelled
      TaskNotEndedBadly       the task has not FAILED and was not CANCELLED, so it cannot run again
      InvalidTask             a task to create has fields that do not fit its type or the limits
      TroubleNotAllowed       task types that make trouble on purpose are switched off
      StatementRefused        PostgreSQL refuses a statement or a value in it: a bug
      Unavailable             something the service needs does not answer; trying again may help
        DatabaseUnavailable   PostgreSQL refused, broke off or took too long
        SchemaOutdated        the database lacks the tables or columns that this version needs
        BrokerUnavailable     Redis refused, broke off or took too long
        Overloaded            more waits to be done than may wait

Errors inside a task's own work are not here: see `app.handlers.errors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.status import Status


class ServiceError(Exception):
    """Base of every error that the service raises on purpose."""


class TaskNotFound(ServiceError):
    """No task has this id."""

    def __init__(self, task_id: int) -> None:
        super().__init__(f"There is no task {task_id}.")
        self.task_id = task_id


class TaskAlreadyFinal(ServiceError):
    """The task has ended, so it cannot be cancelled."""

    def __init__(self, task_id: int, status: Status) -> None:
        super().__init__(f"Task {task_id} is {status} already and cannot be cancelled.")
        self.task_id = task_id
        self.status = status


class TaskNotEndedBadly(ServiceError):
    """The task has not FAILED and was not CANCELLED, so it cannot be run again."""

    def __init__(self, task_id: int, status: Status) -> None:
        super().__init__(
            f"Task {task_id} is {status}; only one that FAILED or was CANCELLED can run again."
        )
        self.task_id = task_id
        self.status = status


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field: the way to it, as keys and indexes, and a reason."""

    path: tuple[str | int, ...]
    reason: str


class InvalidTask(ServiceError):
    """A task to create has fields that do not fit its type, or the service's limits."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.reason for fault in faults))
        self.faults = faults


class TroubleNotAllowed(ServiceError):
    """Task types that make trouble on purpose are switched off."""

    def __init__(self) -> None:
        super().__init__(
            "Tasks that make trouble on purpose are switched off here (TROUBLE_TYPES=false)."
        )


class StatementRefused(ServiceError):
    """PostgreSQL refuses a statement or a value in it, which is a bug; the text holds no values."""


class Unavailable(ServiceError):
    """Something the service needs does not answer at the moment."""


class DatabaseUnavailable(Unavailable):
    """PostgreSQL refused the connection, broke it off or took too long."""


class SchemaOutdated(Unavailable):
    """The database lacks the tables or columns that this version needs."""


class BrokerUnavailable(Unavailable):
    """Redis refused the connection, broke it off or took too long."""


class Overloaded(Unavailable):
    """More waits to be done than may wait, so that this was not taken on."""
