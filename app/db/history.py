"""What is kept of a task's past, and how it is read; the timeline is written by `transitions`."""

from collections.abc import Sequence

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from app.db.engine import Connection
from app.db.models import TaskAttemptRow, TaskEventRow, TaskLogRow, TaskRow
from app.db.transitions import has_status
from app.domain import transitions
from app.domain.history import Attempt, AttemptOutcome, Event, LogLine
from app.domain.status import Status
from app.domain.task import ClaimedTask


def add_lines(connection: Connection, task: ClaimedTask, lines: Sequence[LogLine]) -> None:
    """Store what the running attempt logged; nothing once it is over, and no line twice."""
    connection.execute(
        _ADD_LINES,
        {
            "p_id": task.id,
            "p_attempt": task.attempt,
            "p_numbers": [line.number for line in lines],
            "p_times": [line.at for line in lines],
            "p_levels": [line.level for line in lines],
            "p_messages": [line.message for line in lines],
        },
    )


# The lock keeps the row from being deleted before the lines are stored that refer to it. It is the
# one that an UPDATE takes, so that a heartbeat and a settlement, each of which writes to the row
# and adds the same lines, do not wait for each other in a circle.
_running = (
    select(TaskRow.id, TaskRow.attempt)
    .where(
        TaskRow.id == bindparam("p_id"),
        TaskRow.attempt == bindparam("p_attempt"),
        has_status([Status.IN_PROGRESS]),
    )
    .with_for_update(key_share=True)
    .cte("running")
)
_lines = (
    func.unnest(
        cast(bindparam("p_numbers"), ARRAY(Integer)),
        cast(bindparam("p_times"), ARRAY(DateTime(timezone=True))),
        cast(bindparam("p_levels"), ARRAY(Text)),
        cast(bindparam("p_messages"), ARRAY(Text)),
    )
    .table_valued("number", "at", "level", "message", name="lines")
    .render_derived()
)
_ADD_LINES = (
    insert(TaskLogRow)
    .from_select(
        ["task_id", "attempt", "number", "at", "level", "message"],
        select(
            _running.c.id,
            _running.c.attempt,
            _lines.c.number,
            _lines.c.at,
            _lines.c.level,
            _lines.c.message,
        ).select_from(_running.join(_lines, and_(True))),
    )
    .on_conflict_do_nothing()
)


def attempts_of(connection: Connection, task_id: int, *, skip: int, limit: int) -> list[Attempt]:
    """Return a task's attempts, first to last, the one that runs included."""
    rows = connection.execute(_ATTEMPTS, {"p_id": task_id, "p_skip": skip, "p_limit": limit})
    return [
        Attempt(
            number,
            worker,
            started_at,
            finished_at,
            None if outcome is None else AttemptOutcome(outcome),
            error,
            traceback,
        )
        for number, worker, started_at, finished_at, outcome, error, traceback in rows
    ]


_ended = select(
    TaskAttemptRow.number,
    TaskAttemptRow.worker,
    TaskAttemptRow.started_at,
    TaskAttemptRow.finished_at,
    TaskAttemptRow.outcome,
    TaskAttemptRow.error,
    TaskAttemptRow.traceback,
).where(TaskAttemptRow.task_id == bindparam("p_id"))
_runs = select(
    TaskRow.attempt,
    TaskRow.worker,
    TaskRow.started_at,
    cast(None, DateTime(timezone=True)),
    cast(None, Text),
    cast(None, Text),
    cast(None, Text),
).where(TaskRow.id == bindparam("p_id"), has_status([Status.IN_PROGRESS]))
# One statement, so that an attempt which ends meanwhile is neither missing nor there twice.
_ATTEMPTS = (
    _ended.union_all(_runs)
    .order_by("number")
    .offset(bindparam("p_skip"))
    .limit(bindparam("p_limit"))
)


def events_of(connection: Connection, task_id: int, *, skip: int, limit: int) -> list[Event]:
    """Return a task's timeline, oldest first."""
    rows = connection.execute(_EVENTS, {"p_id": task_id, "p_skip": skip, "p_limit": limit})
    return [Event(*row) for row in rows]


_EVENTS = (
    select(
        TaskEventRow.at,
        TaskEventRow.event,
        TaskEventRow.status,
        TaskEventRow.attempt,
        TaskEventRow.detail,
    )
    .where(TaskEventRow.task_id == bindparam("p_id"))
    .order_by(TaskEventRow.id)
    .offset(bindparam("p_skip"))
    .limit(bindparam("p_limit"))
)


def ending_of(connection: Connection, task_id: int, attempt: int) -> str | None:
    """Return the name of the transition that ended an attempt, or None when none has."""
    return connection.execute(_ENDING, {"p_id": task_id, "p_attempt": attempt}).scalar()


# The first: a task that is cancelled while it waits names the attempt before.
_ENDING = (
    select(TaskEventRow.event)
    .where(
        TaskEventRow.task_id == bindparam("p_id"),
        TaskEventRow.attempt == bindparam("p_attempt"),
        TaskEventRow.event.in_(sorted({t.name for t in transitions.ALL if t.ends_attempt})),
    )
    .order_by(TaskEventRow.id)
    .limit(1)
)


def lines_of(
    connection: Connection, task_id: int, *, attempt: int | None, skip: int, limit: int
) -> list[LogLine]:
    """Return what a task's attempts logged, oldest first; with `attempt` of that one only."""
    rows = connection.execute(
        _LINES,
        {"p_id": task_id, "p_of_attempt": attempt, "p_skip": skip, "p_limit": limit},
    )
    return [LogLine(*row) for row in rows]


_of_attempt = bindparam("p_of_attempt", type_=BigInteger)
_LINES = (
    select(
        TaskLogRow.attempt,
        TaskLogRow.number,
        TaskLogRow.at,
        TaskLogRow.level,
        TaskLogRow.message,
    )
    .where(
        TaskLogRow.task_id == bindparam("p_id"),
        or_(cast(_of_attempt, BigInteger).is_(None), TaskLogRow.attempt == _of_attempt),
    )
    .order_by(TaskLogRow.attempt, TaskLogRow.number)
    .offset(bindparam("p_skip"))
    .limit(bindparam("p_limit"))
)
