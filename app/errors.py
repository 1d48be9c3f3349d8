"""The errors of the service, raised by meaning; `app.api.problems` maps them to HTTP, once.

    ServiceError
      TaskNotFound            no task has this id
      TaskAlreadyFinal        the task has ended, so it cannot be cancelled
      Unavailable             something the service needs does not answer; trying again may help
        DatabaseUnavailable   PostgreSQL refused, broke off or took too long
        SchemaOutdated        the database lacks the tables or columns that this version needs
        BrokerUnavailable     Redis refused, broke off or took too long

Errors inside a task's own work are not here: see `app.handlers.errors`.
"""

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


class Unavailable(ServiceError):
    """Something the service needs does not answer at the moment."""


class DatabaseUnavailable(Unavailable):
    """PostgreSQL refused the connection, broke it off or took too long."""


class SchemaOutdated(Unavailable):
    """The database lacks the tables or columns that this version needs."""


class BrokerUnavailable(Unavailable):
    """Redis refused the connection, broke it off or took too long."""
