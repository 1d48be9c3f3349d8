"""What the maintenance loop reads and repairs, in bounded batches that never wait for a lock.

Rows locked by somebody else are skipped: whoever holds them is changing them, and the next round
comes half a second later. That also keeps two batches from deadlocking. Only `rescue_from` waits.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    or_,
    select,
    true,
    union_all,
)

from app.db.attempts import seconds
from app.db.engine import Connection
from app.db.models import TaskRow
from app.db.transitions import Ending, Moved, batch_statement, has_status, make_batch
from app.domain import transitions
from app.domain.history import AttemptOutcome
from app.domain.priority import QUEUES_BY_URGENCY, QueueName
from app.domain.status import WAITING, Status
from app.domain.task import TaskMessage

_WAITING = TaskRow.status.in_(sorted(WAITING))


def undispatched(connection: Connection, limit: int) -> list[TaskMessage]:
    """Return the tasks that are due and in no queue, in the order in which to publish them.

    A NEW task gets a second first, in which the API that stored it publishes it itself.
    """
    return [
        TaskMessage(
            task_id=task_id, queue=QueueName(queue), type=kind, title=title, dispatched_at=now
        )
        for task_id, queue, kind, title, now in connection.execute(
            _UNDISPATCHED, {"p_limit": limit}
        )
    ]


def is_undispatched() -> ColumnElement[bool]:
    """Return the condition that a task is due and in no queue."""
    return and_(
        _WAITING,
        TaskRow.dispatched_at.is_(None),
        TaskRow.run_at <= func.now(),
        or_(
            TaskRow.status == Status.PENDING.value,
            TaskRow.run_at <= func.now() - func.make_interval(0, 0, 0, 0, 0, 0, 1),
        ),
    )


# Each queue's first ones come out of an index in their order. To sort all queues together would
# mean to sort all that is due again for every batch, of which there may be a million.
_due = union_all(
    *(
        select(
            select(TaskRow.id, TaskRow.queue, TaskRow.type, TaskRow.title, TaskRow.run_at)
            .where(TaskRow.queue == queue.value, is_undispatched())
            .order_by(TaskRow.run_at, TaskRow.id)
            .limit(bindparam("p_limit"))
            .subquery(queue.value)
        )
        for queue in QUEUES_BY_URGENCY
    )
).subquery("due")
_urgency = case(
    {queue.value: rank for rank, queue in enumerate(QUEUES_BY_URGENCY)}, value=_due.c.queue
)
_UNDISPATCHED = (
    select(_due.c.id, _due.c.queue, _due.c.type, _due.c.title, func.now().label("now"))
    .order_by(_urgency, _due.c.run_at, _due.c.id)
    .limit(bindparam("p_limit"))
)


def mark_dispatched(connection: Connection, messages: Sequence[TaskMessage]) -> list[Moved]:
    """Record that these messages are in their queues, for the tasks that still wait there.

    Not for one that has changed since: it may have been claimed and wait for its next attempt,
    which needs a message of its own. At worst that is a second one.
    """
    return make_batch(
        connection,
        _MARK_DISPATCHED,
        p_ids=[message.task_id for message in messages],
        p_queues=[message.queue.value for message in messages],
        p_times=[message.dispatched_at for message in messages],
    )


_published = (
    func.unnest(
        cast(bindparam("p_ids"), ARRAY(BigInteger)),
        cast(bindparam("p_queues"), ARRAY(Text)),
        cast(bindparam("p_times"), ARRAY(DateTime(timezone=True))),
    )
    .table_valued("id", "queue", "at", name="published")
    .render_derived()
)
# Each is looked up by itself: how many there are is not known when this is planned, and for the few
# that PostgreSQL supposes it would compare each with each.
_named = (
    select(TaskRow.id)
    .where(
        TaskRow.id == _published.c.id,
        TaskRow.queue == _published.c.queue,
        has_status(WAITING),
        TaskRow.dispatched_at.is_(None),
        TaskRow.run_at <= func.now(),
        # Later than now is what was written before the clock was set back.
        or_(TaskRow.updated_at <= _published.c.at, TaskRow.updated_at > func.now()),
    )
    .with_for_update(skip_locked=True)
    .lateral("named")
)
_still_waiting = select(_named.c.id, _published.c.at).join(_named, true()).cte("still_waiting")
_MARK_DISPATCHED = batch_statement(
    transitions.DISPATCHED,
    TaskRow.id == _still_waiting.c.id,
    values={"dispatched_at": _still_waiting.c.at},
)


def _batch(*where: ColumnElement[bool], order_by: Any) -> ColumnElement[bool]:
    """Return the condition that picks up to p_limit unlocked rows."""
    rows = (
        select(TaskRow.id)
        .where(*where)
        .order_by(order_by)
        .limit(bindparam("p_limit"))
        .with_for_update(skip_locked=True)
        .cte("batch")
    )
    return TaskRow.id.in_(select(rows.c.id))


def forget_lost_messages(
    connection: Connection,
    queue: QueueName,
    taken_before: datetime,
    margin_seconds: float,
    limit: int,
) -> list[Moved]:
    """Mark for publishing the tasks whose message is no longer in their queue.

    All that were dispatched `margin_seconds` or more before `taken_before` and still wait.
    """
    return make_batch(
        connection,
        _FORGET_LOST,
        p_queue=queue.value,
        p_taken_before=taken_before,
        p_margin=margin_seconds,
        p_limit=limit,
    )


_FORGET_LOST = batch_statement(
    transitions.MESSAGE_LOST,
    _batch(
        TaskRow.status == Status.PENDING.value,
        TaskRow.queue == bindparam("p_queue"),
        TaskRow.dispatched_at
        < cast(bindparam("p_taken_before"), DateTime(timezone=True)) - seconds("p_margin"),
        order_by=TaskRow.dispatched_at,
    ),
    values={"dispatched_at": None},
)


def rescue_lapsed(connection: Connection, crash_limit: int, limit: int) -> list[Moved]:
    """End or requeue the tasks whose lease has run out, by the database's own clock."""
    return _rescue(connection, _RESCUE_LAPSED, crash_limit, p_limit=limit)


def rescue_from(connection: Connection, worker: str, crash_limit: int) -> list[Moved]:
    """End or requeue what a worker process ran that is known to be dead.

    Whoever holds the task just now, as a cancel does, is waited for: it is said once that a
    process has died, and no later round would come back to it before its lease has lapsed.
    """
    connection.execute(_LOCK_RUNNING, {"p_worker": worker})
    return _rescue(connection, _RESCUE_FROM, crash_limit, p_worker=worker, p_limit=10)


def _rescue(
    connection: Connection, changes: tuple[Select[Any], ...], crash_limit: int, **parameters: Any
) -> list[Moved]:
    cancelled, failed, requeued = changes
    return [
        *make_batch(connection, cancelled, **parameters),
        *make_batch(connection, failed, p_crash_limit=crash_limit, **parameters),
        *make_batch(connection, requeued, p_crash_limit=crash_limit, **parameters),
    ]


def _rescue_statements(gone: ColumnElement[bool]) -> tuple[Select[Any], ...]:
    """Return the three ends of an attempt whose process is gone; each guard excludes the others."""
    running = and_(TaskRow.status == Status.IN_PROGRESS.value, gone)
    cancelled = TaskRow.cancel_requested_at.is_not(None)
    worn_out = TaskRow.crashes + 1 >= bindparam("p_crash_limit")
    order = TaskRow.lease_expires_at
    lost = Ending(AttemptOutcome.LOST, "The worker process died or fell silent.")
    crash = func.format("attempt %s ended with its worker %s", TaskRow.attempt, TaskRow.worker)
    return (
        batch_statement(
            transitions.RESCUE_CANCELLED,
            _batch(running, cancelled, order_by=order),
            detail="its worker was gone",
            ending=Ending(AttemptOutcome.CANCELLED, "The worker process was gone."),
        ),
        batch_statement(
            transitions.CRASH_LIMIT_REACHED,
            _batch(running, ~cancelled, worn_out, order_by=order),
            values={
                "crashes": TaskRow.crashes + 1,
                "error_info": func.format(
                    "The worker process died or fell silent %s time(s) while running this task; "
                    "the last one was %s.",
                    TaskRow.crashes + 1,
                    TaskRow.worker,
                ),
            },
            ending=lost,
        ),
        batch_statement(
            transitions.RESCUED,
            _batch(running, ~cancelled, ~worn_out, order_by=order),
            values={
                "crashes": TaskRow.crashes + 1,
                "max_attempts": TaskRow.max_attempts + 1,
                "dispatched_at": None,
                "run_at": func.now(),
                "progress": 0.0,
                "progress_note": None,
                "error_info": crash,
            },
            detail="its worker was gone",
            ending=lost,
        ),
    )


_LOCK_RUNNING = (
    select(TaskRow.id)
    .where(TaskRow.status == Status.IN_PROGRESS.value, TaskRow.worker == bindparam("p_worker"))
    .order_by(TaskRow.lease_expires_at)
    .with_for_update()
)
_RESCUE_LAPSED = _rescue_statements(TaskRow.lease_expires_at < func.now())
_RESCUE_FROM = _rescue_statements(TaskRow.worker == bindparam("p_worker"))
