"""Turns a named transition into one statement: a guarded UPDATE and its line in the timeline.

This is the only place that assigns a task's status. Each statement is built once, at import, and
run with parameters; it returns the tasks that it moved, so that nothing returned means that the
guard refused, and somebody else's transition won.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    func,
    insert,
    literal,
    select,
    update,
)

from app.db.models import TaskEventRow, TaskRow
from app.domain.priority import Priority, QueueName
from app.domain.status import FINAL, Status
from app.domain.task import Task
from app.domain.transitions import Transition

TASK_COLUMNS = tuple(getattr(TaskRow, field.name) for field in fields(Task))

# What a transition does to the times and the lease, whoever makes it.
_ENDS_ATTEMPT: dict[str, Any] = {"lease_expires_at": None}


def statement(
    transition: Transition,
    *where: ColumnElement[bool],
    values: Mapping[str, Any] | None = None,
    detail: Any = None,
    returning: Sequence[Any] = TASK_COLUMNS,
) -> Select[Any]:
    """Return the statement that makes a transition.

    `where` narrows the rows beyond the guard, `values` are further columns to set, and `detail` is
    the text of the timeline's line. It returns whole tasks unless told otherwise. A fenced
    transition takes the parameters p_id and p_attempt.
    """
    guard = [TaskRow.status.in_(sorted(transition.sources)), *where]
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

    moved = update(TaskRow).where(*guard).values(**changes).returning(*returning).cte("moved")
    logged = (
        insert(TaskEventRow)
        .from_select(
            ["task_id", "event", "status", "attempt", "detail"],
            select(
                moved.c.id,
                literal(transition.name),
                moved.c.status,
                moved.c.attempt,
                literal(detail) if detail is None or isinstance(detail, str) else detail,
            ),
        )
        .cte("logged")
    )
    return select(moved).add_cte(logged)


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
) -> Select[Any]:
    """Return the statement that makes a transition of many tasks, for `make_batch`."""
    columns = [getattr(TaskRow, field.name) for field in fields(Moved)]
    return statement(transition, *where, values=values, detail=detail, returning=columns)


def make_batch(connection: Connection, change: Select[Any], /, **parameters: Any) -> list[Moved]:
    """Run a batch's statement and return what it moved."""
    return [
        Moved(row.id, Status(row.status), row.attempt, row.worker)
        for row in connection.execute(change, parameters)
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
    return Task(**task)


_FIELD_NAMES = tuple(field.name for field in fields(Task))
