"""What the worker that runs a task writes about it, each statement fenced by the attempt.

No row back from one of these means that the attempt is no longer this worker's to speak about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Interval, Text, bindparam, cast, func, update
from sqlalchemy.dialects.postgresql import JSONB

from app.db.engine import Connection
from app.db.models import TaskRow
from app.db.transitions import (
    CLAIMED_COLUMNS,
    Ending,
    Moved,
    batch_statement,
    claimed_task_from,
    has_status,
    make_batch,
    make_one,
    statement,
)
from app.domain import transitions
from app.domain.history import AttemptOutcome
from app.domain.priority import QueueName
from app.domain.status import Status
from app.domain.task import ClaimedTask, Task


def seconds(name: str) -> Any:
    """Return a parameter in seconds as an SQL interval."""
    return func.make_interval(0, 0, 0, 0, 0, 0, bindparam(name), type_=Interval)


def rfc3339(time: Any) -> Any:
    """Return a time as SQL text for people, in UTC."""
    return func.to_char(func.timezone("UTC", time), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')


_NOT_CANCELLED = TaskRow.cancel_requested_at.is_(None)
_BACK_IN_LINE: dict[str, Any] = {"dispatched_at": None, "progress": 0.0, "progress_note": None}


def claim(
    connection: Connection,
    task_id: int,
    queue: QueueName,
    worker: str,
    lease_seconds: float,
    types: Sequence[str],
) -> ClaimedTask | None:
    """Start the next attempt of a task, if it waits in this queue and its time has come.

    A message from another queue is one that a change of priority has made obsolete; following it
    would let a task overtake. A task of none of these `types` is left for another worker.
    """
    parameters = {
        "p_id": task_id,
        "p_queue": queue.value,
        "p_worker": worker,
        "p_lease": lease_seconds,
        "p_types": list(types),
    }
    row = connection.execute(_CLAIM, parameters).first()
    return None if row is None else claimed_task_from(row)


_CLAIM = statement(
    transitions.CLAIMED,
    TaskRow.id == bindparam("p_id"),
    TaskRow.queue == bindparam("p_queue"),
    TaskRow.run_at <= func.now(),
    TaskRow.type == func.any(cast(bindparam("p_types"), ARRAY(Text))),
    values={
        "attempt": TaskRow.attempt + 1,
        "set_aside_at": None,
        "started_at": func.now(),
        "worker": bindparam("p_worker"),
        "lease_expires_at": func.now() + seconds("p_lease"),
        "progress": 0.0,
        "progress_note": None,
    },
    detail=bindparam("p_worker"),
    returning=CLAIMED_COLUMNS,
)


def resume(
    connection: Connection, task_id: int, worker: str, lease_seconds: float
) -> ClaimedTask | None:
    """Renew the lease of the attempt that this process holds, and return its task.

    For a process that asked for a claim and did not hear the answer: the database may have carried
    it out. No two living processes have the same name.
    """
    parameters = {"p_id": task_id, "p_worker": worker, "p_lease": lease_seconds}
    row = connection.execute(_RESUME, parameters).first()
    return None if row is None else claimed_task_from(row)


_RESUME = (
    update(TaskRow)
    .where(
        TaskRow.id == bindparam("p_id"),
        TaskRow.worker == bindparam("p_worker"),
        has_status([Status.IN_PROGRESS]),
    )
    .values(lease_expires_at=func.now() + seconds("p_lease"), updated_at=func.now())
    .returning(*CLAIMED_COLUMNS)
)


def renew(
    connection: Connection,
    task: ClaimedTask,
    lease_seconds: float,
    progress: float,
    note: str | None,
) -> bool | None:
    """Renew an attempt's lease and store its progress.

    Returns whether a cancel was asked for, or None when the attempt is over: rescued, deleted.
    """
    row = connection.execute(
        _RENEW,
        {
            "p_id": task.id,
            "p_attempt": task.attempt,
            "p_lease": lease_seconds,
            "p_progress": progress,
            "p_note": note,
        },
    ).first()
    return None if row is None else bool(row[0])


_RENEW = (
    update(TaskRow)
    .where(
        TaskRow.id == bindparam("p_id"),
        TaskRow.attempt == bindparam("p_attempt"),
        has_status([Status.IN_PROGRESS]),
    )
    .values(
        lease_expires_at=func.now() + seconds("p_lease"),
        progress=bindparam("p_progress"),
        progress_note=bindparam("p_note"),
        updated_at=func.now(),
    )
    .returning(TaskRow.cancel_requested_at.is_not(None))
)


def complete(
    connection: Connection, task: ClaimedTask, result: Any, note: str | None = None
) -> Moved | None:
    """Store a result and end the task as COMPLETED, unless a cancel was accepted before."""
    parameters = {"p_id": task.id, "p_attempt": task.attempt, "p_result": result, "p_note": note}
    # Its worker has no use for the task any more, and this is said once for almost every task.
    moved = make_batch(connection, _COMPLETE, **parameters)
    return moved[0] if moved else None


_COMPLETE = batch_statement(
    transitions.COMPLETED,
    _NOT_CANCELLED,
    values={
        "result": bindparam("p_result", type_=JSONB(none_as_null=True)),
        "error_info": None,
        "progress": 1.0,
        "progress_note": bindparam("p_note"),
    },
    ending=Ending(AttemptOutcome.COMPLETED),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt has failed: in one line, in full where there is more, and as what."""

    error: str
    traceback: str | None = None
    outcome: AttemptOutcome = AttemptOutcome.FAILED


_FAILURE = Ending(
    bindparam("p_outcome", type_=Text),
    bindparam("p_error", type_=Text),
    bindparam("p_traceback", type_=Text),
)


def fail(connection: Connection, task: ClaimedTask, failure: Failure) -> Task | None:
    """End the task as FAILED, unless a cancel was accepted before."""
    return make_one(connection, _FAIL, **_failed(task, failure))


def _failed(task: ClaimedTask, failure: Failure) -> dict[str, Any]:
    return {
        "p_id": task.id,
        "p_attempt": task.attempt,
        "p_error": failure.error,
        "p_traceback": failure.traceback,
        "p_outcome": failure.outcome.value,
    }


_FAIL = statement(
    transitions.FAILED,
    _NOT_CANCELLED,
    values={"failures": TaskRow.failures + 1, "error_info": bindparam("p_error")},
    detail=bindparam("p_error"),
    ending=_FAILURE,
)


def schedule_retry(
    connection: Connection, task: ClaimedTask, failure: Failure, pause_seconds: float
) -> Task | None:
    """Let the task wait for its next attempt, unless a cancel was accepted before."""
    return make_one(connection, _SCHEDULE_RETRY, **_failed(task, failure), p_pause=pause_seconds)


_next_attempt_at = func.now() + seconds("p_pause")
_SCHEDULE_RETRY = statement(
    transitions.RETRY_SCHEDULED,
    _NOT_CANCELLED,
    values={
        **_BACK_IN_LINE,
        "failures": TaskRow.failures + 1,
        "error_info": bindparam("p_error"),
        "run_at": _next_attempt_at,
        # Its wait begins anew, and so does its way up.
        "queue": func.lower(TaskRow.priority),
    },
    detail=func.format(
        "at %s, after: %s", rfc3339(_next_attempt_at), cast(bindparam("p_error"), Text)
    ),
    ending=_FAILURE,
)


def release(connection: Connection, task: ClaimedTask) -> Task | None:
    """Hand the task back because its worker shuts down.

    The attempt counts as neither failure nor crash, so there is room for one more.
    """
    return make_one(connection, _RELEASE, p_id=task.id, p_attempt=task.attempt)


_RELEASE = statement(
    transitions.RELEASED,
    _NOT_CANCELLED,
    values={
        **_BACK_IN_LINE,
        "max_attempts": TaskRow.max_attempts + 1,
        "run_at": func.now(),
    },
    detail="its worker shuts down",
    ending=Ending(AttemptOutcome.RELEASED, "The worker was shut down."),
)


def cancel_running(connection: Connection, task: ClaimedTask) -> Task | None:
    """End a running task as CANCELLED, once that was asked for."""
    return make_one(connection, _CANCEL_RUNNING, p_id=task.id, p_attempt=task.attempt)


_CANCEL_RUNNING = statement(
    transitions.CANCELLED_RUNNING,
    TaskRow.cancel_requested_at.is_not(None),
    ending=Ending(AttemptOutcome.CANCELLED),
)
