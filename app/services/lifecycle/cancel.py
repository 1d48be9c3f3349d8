"""Cancels a task: at once while it waits, within moments while it runs."""

from typing import assert_never

from app.db import tasks as store
from app.db.engine import Database
from app.domain.status import Status
from app.domain.task import Task
from app.errors import TaskAlreadyFinal, TaskNotFound


def cancel_task(database: Database, task_id: int) -> Task:
    """Cancel a task and return it: CANCELLED, or IN_PROGRESS while its worker stops it.

    Cancelling again changes nothing.

    Raises:
        TaskNotFound: there is no such task.
        TaskAlreadyFinal: it has COMPLETED or FAILED.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database.transaction() as connection:
        # The lock keeps claims and settlements out, so that what is read still holds below.
        task = store.lock(connection, task_id)
        if task is None:
            raise TaskNotFound(task_id)
        match task.status:
            case Status.NEW | Status.PENDING:
                return store.cancel_waiting(connection, task_id) or task
            case Status.IN_PROGRESS:
                return store.request_cancel(connection, task_id) or task
            case Status.CANCELLED:
                return task
            case Status.COMPLETED | Status.FAILED:
                raise TaskAlreadyFinal(task_id, task.status)
            case _:
                assert_never(task.status)
