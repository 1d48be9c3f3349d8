"""Turns a named transition into one statement: a guarded UPDATE and its line in the timeline.

This is the only place that assigns a task's status. Each statement is built once, at import, and
run with parameters; it returns the tasks that it moved, so that nothing returned means that the
guard refused, and somebody else's transition won.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Row,
    Select,
    Text,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
    update,
)

from app.db.engine import Connection
from app.db.models import TaskAttemptRow, TaskEventRow, TaskRow
from app.domain.history import AttemptOutcome
from app.domain.priority import Priority, QueueName
from app.domain.retry import Backoff
from app.domain.status import FINAL, Status
from app.domain.task import ClaimedTask, Task
from app.domain.transitions import Transition

TASK_COLUMNS = tuple(getattr(TaskRow, field.name) for field in fields(Task))
# What the timeline's line and the record of the attempt take from the row.
_TOLD = (TaskRow.id, TaskRow.status, TaskRow.attempt, TaskRow.worker, TaskRow.started_at)
CLAIMED_COLUMNS = tuple(getattr(TaskRow, field.name) for field in fields(ClaimedTask))

# What a transition does to the times and the lease, whoever makes it.
_ENDS_ATTEMPT: dict[str, Any] = {"lease_expires_at": None}


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, each as a plain value or as SQL."""

    outcome: Any
    error: Any = None
    traceback: Any = None


def has_status(statuses: Iterable[Status]) -> ColumnElement[bool]:
    """Return the condition that a task which is found by its id has one of these statuses.

    It fits no index. PostgreSQL plans by its latest statistics, and as long as these say that
    hardly anything waits, it would rather look for the id among all that does.
    """
    return TaskRow.status.op("||")(literal("")).in_(sorted(statuses))


def statement(
    transition: Transition,
    *where: ColumnElement[bool],
    values: Mapping[str, Any] | None = None,
    detail: Any = None,
    ending: Ending | None = None,
    returning: Sequence[Any] = TASK_COLUMNS,
) -> Select[Any]:
    """Return the statement that makes a transition.

    `where` gives the ids of the rows and narrows them beyond the guard, `values` are further
    columns to set, `detail` is the text of the timeline's line, and `ending` goes into the record
    of the attempt that is over with it. It returns whole tasks unless told otherwise. A fenced
    transition takes the parameters p_id and p_attempt.
    """
    assert transition.ends_attempt == (ending is not None), transition.name
    guard = [has_status(transition.sources), *where]
    if transition.fenced:
        guard += [TaskRow.id == bindparam("p_id"), TaskRow.attempt == bindparam("p_attempt")]

    changes: dict[str, Any] = {"updated_at": func.now()}
    if transition.target is not None:
        changes["status"] = transition.target.value
        if transition.target is not Status.IN_PROGRESS:
            changes |= _ENDS_ATTEMPT
        if transition.target in FINAL:
            changes["completed_at"] = func.now()
    changes |= values or {}

    columns = {column.key: column for column in (*returning, *_TOLD)}
    moved = (
        update(TaskRow).where(*guard).values(**changes).returning(*columns.values()).cte("moved")
    )
    changed = select(*(moved.c[column.key] for column in returning))
    changed = changed.add_cte(_logged(moved, transition, detail))
    return changed if ending is None else changed.add_cte(_recorded(moved, ending))


def _logged(moved: CTE, transition: Transition, detail: Any) -> CTE:
    """Return the INSERT of the timeline's line."""
    line = select(
        moved.c.id,
        literal(transition.name),
        moved.c.status,
        moved.c.attempt,
        _sql(detail),
    )
    columns = ["task_id", "event", "status", "attempt", "detail"]
    return insert(TaskEventRow).from_select(columns, line).cte("logged")


def _recorded(moved: CTE, ending: Ending) -> CTE:
    """Return the INSERT of the attempt that is over."""
    attempt = select(
        moved.c.id,
        moved.c.attempt,
        moved.c.worker,
        moved.c.started_at,
        _sql(ending.outcome),
        _sql(ending.error),
        _sql(ending.traceback),
    )
    columns = ["task_id", "number", "worker", "started_at", "outcome", "error", "traceback"]
    return insert(TaskAttemptRow).from_select(columns, attempt).cte("recorded")


def _sql(value: Any) -> Any:
    """Return a text or None as SQL, and SQL as it is."""
    match value:
        case AttemptOutcome():
            return literal(value.value)
        case None | str():
            return cast(literal(value), Text)
    return value


@dataclass(frozen=True, slots=True)
class Moved:
    """What a batch says of a task that it moved; its texts, which may be large, stay behind."""

    id: int
    status: Status
    attempt: int
    worker: str | None


def batch_statement(
    transition: Transition,
    *where: ColumnElement[bool],
    values: Mapping[str, Any] | None = None,
    detail: Any = None,
    ending: Ending | None = None,
) -> Select[Any]:
    """Return the statement that makes a transition of many tasks, for `make_batch`."""
    columns = [getattr(TaskRow, field.name) for field in fields(Moved)]
    return statement(
        transition, *where, values=values, detail=detail, ending=ending, returning=columns
    )


def make_batch(connection: Connection, change: Select[Any], /, **parameters: Any) -> list[Moved]:
    """Run a batch's statement and return what it moved."""
    return [
        Moved(task_id, Status(status), attempt, worker)
        for task_id, status, attempt, worker in connection.execute(change, parameters)
    ]


def make_one(connection: Connection, change: Select[Any], /, **parameters: Any) -> Task | None:
    """Run a transition of one task; None means that its guard refused."""
    row = connection.execute(change, parameters).first()
    return None if row is None else task_from(row)


def task_from(row: Row[Any] | Sequence[Any]) -> Task:
    """Return the task in a row of TASK_COLUMNS."""
    task = dict(zip(_FIELD_NAMES, row, strict=True))
    task["priority"] = Priority(task["priority"])
    task["status"] = Status(task["status"])
    task["queue"] = QueueName(task["queue"])
    if task["backoff"] is not None:
        task["backoff"] = Backoff(**task["backoff"])
    return Task(**task)


_FIELD_NAMES = tuple(field.name for field in fields(Task))


def claimed_task_from(row: Row[Any] | Sequence[Any]) -> ClaimedTask:
    """Return the task in a row of CLAIMED_COLUMNS."""
    values = list(row)
    if values[_BACKOFF] is not None:
        values[_BACKOFF] = Backoff(**values[_BACKOFF])
    return ClaimedTask(*values)


_BACKOFF = [field.name for field in fields(ClaimedTask)].index("backoff")
