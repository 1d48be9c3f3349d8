"""Tasks as the API's clients see and change them: read, list, change, cancel, delete."""

from typing import Any

from sqlalchemy import (
    bindparam,
    delete,
    func,
    select,
    update,
)

from app.db.engine import Connection
from app.db.models import TaskRow
from app.db.transitions import TASK_COLUMNS, make_one, statement, task_from
from app.domain import transitions
from app.domain.priority import Priority, QueueName, queue_for
from app.domain.status import Status
from app.domain.task import Task

_THIS = TaskRow.id == bindparam("p_id")


def get(connection: Connection, task_id: int) -> Task | None:
    """Return a task, or None when there is none with this id."""
    row = connection.execute(_GET, {"p_id": task_id}).first()
    return None if row is None else task_from(row)


_GET = select(*TASK_COLUMNS).where(_THIS)


def exists(connection: Connection, task_id: int) -> bool:
    """Return whether there is a task with this id."""
    return connection.execute(_EXISTS, {"p_id": task_id}).first() is not None


_EXISTS = select(TaskRow.id).where(_THIS)


def lock(connection: Connection, task_id: int) -> Task | None:
    """Return a task and hold its row until the transaction ends, so that no claim comes between."""
    row = connection.execute(_LOCK, {"p_id": task_id}).first()
    return None if row is None else task_from(row)


_LOCK = _GET.with_for_update()


def set_fields(connection: Connection, task_id: int, **fields: Any) -> Task | None:
    """Set a task's title, description or priority, whatever its status."""
    row = connection.execute(
        update(TaskRow)
        .where(TaskRow.id == task_id)
        .values(updated_at=func.now(), **fields)
        .returning(*TASK_COLUMNS)
    ).first()
    return None if row is None else task_from(row)


def move_waiting(connection: Connection, task_id: int, priority: Priority) -> Task | None:
    """Give a waiting task a new priority and mark it for publishing to that priority's queue."""
    return make_one(connection, _MOVE_WAITING, p_id=task_id, **_priority(priority))


def move_running(connection: Connection, task_id: int, priority: Priority) -> Task | None:
    """Give a running task a new priority, which counts for its later attempts."""
    return make_one(connection, _MOVE_RUNNING, p_id=task_id, **_priority(priority))


def _priority(priority: Priority) -> dict[str, str]:
    return {"p_priority": priority.value, "p_queue": queue_for(priority).value}


_NEW_PRIORITY: dict[str, Any] = {"priority": bindparam("p_priority"), "queue": bindparam("p_queue")}
_MOVE_WAITING = statement(
    transitions.REPRIORITISED,
    _THIS,
    values={**_NEW_PRIORITY, "dispatched_at": None},
    detail=bindparam("p_priority"),
)
_MOVE_RUNNING = statement(
    transitions.REPRIORITISED_RUNNING,
    _THIS,
    values=_NEW_PRIORITY,
    detail=bindparam("p_priority"),
)


def cancel_waiting(connection: Connection, task_id: int) -> Task | None:
    """End a waiting task as CANCELLED."""
    return make_one(connection, _CANCEL_WAITING, p_id=task_id)


_CANCEL_WAITING = statement(
    transitions.CANCELLED_WAITING, _THIS, values={"cancel_requested_at": func.now()}
)


def request_cancel(connection: Connection, task_id: int) -> Task | None:
    """Ask a running task's worker to stop it; None when it does not run or was asked already."""
    return make_one(connection, _REQUEST_CANCEL, p_id=task_id)


_REQUEST_CANCEL = statement(
    transitions.CANCEL_REQUESTED,
    _THIS,
    TaskRow.cancel_requested_at.is_(None),
    values={"cancel_requested_at": func.now()},
)


def run_again(connection: Connection, task_id: int) -> Task | None:
    """Put a FAILED or CANCELLED task back in line; None when it is neither.

    Its attempts are counted on and it has room for at least one more; its crashes are forgiven.
    """
    return make_one(connection, _RUN_AGAIN, p_id=task_id)


_RUN_AGAIN = statement(
    transitions.RETRIED,
    _THIS,
    values={
        "max_attempts": func.greatest(TaskRow.max_attempts, TaskRow.attempt + 1),
        "crashes": 0,
        "completed_at": None,
        "cancel_requested_at": None,
        "set_aside_at": None,
        "dispatched_at": None,
        "run_at": func.now(),
        "queue": func.lower(TaskRow.priority),
        "progress": 0.0,
        "progress_note": None,
    },
    detail="asked for",
)


def delete_task(connection: Connection, task_id: int) -> bool:
    """Delete a task and its timeline; a worker that runs it notices at its next heartbeat."""
    return connection.execute(_DELETE, {"p_id": task_id}).rowcount > 0


_DELETE = delete(TaskRow).where(_THIS)


def counts_of_unfinished(connection: Connection) -> dict[tuple[Status, QueueName], int]:
    """Return how many unfinished tasks there are by status and queue."""
    rows = connection.execute(_COUNTS)
    return {(Status(status), QueueName(queue)): count for status, queue, count in rows}


_COUNTS = (
    select(TaskRow.status, TaskRow.queue, func.count())
    .where(TaskRow.status.in_([Status.NEW, Status.PENDING, Status.IN_PROGRESS]))
    .group_by(TaskRow.status, TaskRow.queue)
)
