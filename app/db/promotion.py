"""Raises tasks that have waited long to a more urgent queue, a few at a time.

A few, so that a heap of patient tasks does not become one of urgent ones: of those that were
raised into a queue, at most half as many wait or run as the living workers have slots. The rest
of the slots stay with those who belong there.
"""

from typing import Any

from sqlalchemy import Select, and_, bindparam, func, literal, select, union_all

from app.db.attempts import seconds
from app.db.engine import Connection
from app.db.models import TaskRow, WorkerRow, is_raised
from app.db.transitions import Moved, batch_statement, make_batch
from app.domain import transitions
from app.domain.priority import QUEUES_BY_URGENCY, QueueName
from app.domain.status import UNFINISHED, WAITING

# More than this at a time would make a long transaction, however many workers there are.
_MOST = 500


def promote(
    connection: Connection, to: QueueName, waited_seconds: float, silent_seconds: float
) -> list[Moved]:
    """Move the tasks that have waited longest, and this long, from less urgent queues into one.

    Workers that have been silent for `silent_seconds` have no slots.
    """
    return make_batch(
        connection, _PROMOTE[to], p_waited=waited_seconds, p_silent=silent_seconds, p_most=_MOST
    )


_WAITING = TaskRow.status.in_(sorted(WAITING))
_UNFINISHED = TaskRow.status.in_(sorted(UNFINISHED))


def _candidates(queue: QueueName) -> Select[Any]:
    """Return the query for what has waited long enough in a queue, the longest first."""
    columns: tuple[Any, ...] = (TaskRow.id, TaskRow.run_at)
    query = (
        select(*columns)
        .where(
            TaskRow.queue == queue.value,
            _WAITING,
            TaskRow.run_at < func.now() - seconds("p_waited"),
        )
        .order_by(TaskRow.run_at)
        .limit(bindparam("p_most"))
    )
    # Tasks of the highest priority are only ever in line; the few others there have an index.
    return query.where(is_raised()) if queue is QueueName.HIGH else query


def _room(to: QueueName) -> Any:
    """Return how many more may be raised into a queue now."""
    slots = (
        select(func.greatest(1, func.coalesce(func.sum(WorkerRow.concurrency), 0) // 2))
        .where(WorkerRow.seen_at >= func.now() - seconds("p_silent"))
        .scalar_subquery()
    )
    raised = (
        select(func.count())
        .where(and_(TaskRow.queue == to.value, is_raised(), _UNFINISHED))
        .scalar_subquery()
    )
    return func.greatest(0, func.least(bindparam("p_most"), slots - raised))


def _promotion(to: QueueName) -> Select[Any]:
    less_urgent = QUEUES_BY_URGENCY[QUEUES_BY_URGENCY.index(to) + 1 :]
    candidates = union_all(*(_candidates(queue).subquery().select() for queue in less_urgent))
    oldest = candidates.order_by("run_at").limit(select(_room(to)).scalar_subquery()).cte("oldest")
    # Whoever holds a row is changing it; the next round comes soon.
    unlocked = (
        select(TaskRow.id)
        .where(TaskRow.id.in_(select(oldest.c.id)))
        .with_for_update(skip_locked=True)
        .cte("unlocked")
    )
    return batch_statement(
        transitions.PROMOTED,
        TaskRow.id.in_(select(unlocked.c.id)),
        values={"queue": literal(to.value), "dispatched_at": None},
        detail=to.value,
    )


_PROMOTE = {to: _promotion(to) for to in QUEUES_BY_URGENCY[:-1]}
