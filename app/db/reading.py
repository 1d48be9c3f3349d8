"""Tasks as they are shown: PostgreSQL itself writes the JSON of each row.

To make Python values of rows, and JSON of the values, takes ten times as long, and a large payload
many times its size in memory. What a task's type has to say is left open, for `app.api.rendering`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Executable,
    Text,
    bindparam,
    cast,
    func,
    literal,
    select,
    true,
)

from app.db.engine import Connection
from app.db.models import TaskRow
from app.domain.priority import Priority
from app.domain.status import Status

# What PostgreSQL's bigint can hold.
_LARGEST = 2**63 - 1


class TaskTexts(NamedTuple):
    """The JSON of a task in pieces, in the order of `app.api.schemas.TaskOut`."""

    id: int
    type: str
    # Up to the payload's value.
    head: str
    payload: str
    # From there up to the value of `backoff`.
    middle: str
    # None where the type's own holds.
    backoff: str | None
    timeout_seconds: float | None
    # What follows the value of `timeout_seconds`.
    tail: str


def _json(column: Any) -> Any:
    return func.coalesce(cast(func.to_json(column), Text), "null")


def _time(column: Any) -> Any:
    # Not in the session's time zone, which a pooler may have changed. This is a third faster than
    # to_char, which takes as long for a page as finding its rows.
    text = func.replace(cast(func.timezone("UTC", column), Text), " ", "T")
    # Unlike concat, the operator makes nothing of nothing.
    return func.coalesce(literal('"') + text + literal('Z"'), "null")


def _members(**values: Any) -> list[Any]:
    """Return what writes these members of a JSON object, each with its comma."""
    return [part for name, value in values.items() for part in (f',"{name}":', value)]


_TEXTS: tuple[Any, ...] = (
    TaskRow.id,
    TaskRow.type,
    func.concat(
        '{"id":',
        TaskRow.id,
        *_members(
            title=_json(TaskRow.title),
            description=_json(TaskRow.description),
            priority=_json(TaskRow.priority),
            status=_json(TaskRow.status),
            created_at=_time(TaskRow.created_at),
            started_at=_time(TaskRow.started_at),
            completed_at=_time(TaskRow.completed_at),
            result=func.coalesce(cast(TaskRow.result, Text), "null"),
            error_info=_json(TaskRow.error_info),
            type=_json(TaskRow.type),
            payload="",
        ),
    ),
    cast(TaskRow.payload, Text),
    func.concat(
        *_members(
            queue=_json(TaskRow.queue),
            attempt=TaskRow.attempt,
            max_attempts=TaskRow.max_attempts,
            backoff="",
        )
    ),
    cast(TaskRow.backoff, Text),
    TaskRow.timeout_seconds,
    func.concat(
        *_members(
            run_at=_time(TaskRow.run_at),
            updated_at=_time(TaskRow.updated_at),
            cancel_requested_at=_time(TaskRow.cancel_requested_at),
            worker=_json(TaskRow.worker),
            progress=TaskRow.progress,
            progress_note=_json(TaskRow.progress_note),
        ),
        "}",
    ),
)


def read_many(connection: Connection, task_ids: Sequence[int]) -> dict[int, TaskTexts]:
    """Return those of these tasks that there are, by id."""
    rows = connection.execute(_MANY, {"p_ids": list(task_ids)})
    return {row[0]: TaskTexts(*row) for row in rows}


_MANY = select(*_TEXTS).where(TaskRow.id == func.any(cast(bindparam("p_ids"), ARRAY(BigInteger))))


def read_page(
    connection: Connection,
    *,
    statuses: Sequence[Status],
    priorities: Sequence[Priority],
    before: int | None,
    skip: int,
    limit: int,
) -> list[TaskTexts]:
    """Return up to `limit` tasks, newest first, with ids below `before`; no values mean any."""
    query = page_query(
        statuses=statuses, priorities=priorities, before=before, skip=skip, limit=limit
    )
    return [TaskTexts(*row) for row in connection.execute(*query)]


def page_query(
    *,
    statuses: Sequence[Status],
    priorities: Sequence[Priority],
    before: int | None,
    skip: int,
    limit: int,
) -> tuple[Executable, dict[str, Any]]:
    """Return the statement for a page, one of two, and its parameters."""
    values: dict[str, Any] = {"p_before": before or _LARGEST, "p_skip": skip, "p_limit": limit}
    wanted = (set(statuses or Status), set(priorities or Priority))
    if wanted == (set(Status), set(Priority)):
        return _PAGE, values
    values["p_statuses"], values["p_priorities"] = (sorted(each) for each in wanted)
    values["p_most"] = min(skip + limit, _LARGEST)
    return _FILTERED_PAGE, values


_before = bindparam("p_before", type_=BigInteger)
_skip = bindparam("p_skip", type_=BigInteger)
_limit = bindparam("p_limit", type_=BigInteger)
_PAGE = (
    select(*_TEXTS)
    .where(TaskRow.id < _before)
    .order_by(TaskRow.id.desc())
    .offset(_skip)
    .limit(_limit)
)

# The newest of each wanted combination of status and priority come from an index, one after the
# other, and the newest of them are the page. So its cost does not grow with the table, however rare
# or frequent what is wanted may be.
_status = (
    func.unnest(cast(bindparam("p_statuses"), ARRAY(Text)))
    .table_valued("value", name="wanted_status")
    .render_derived()
)
_priority = (
    func.unnest(cast(bindparam("p_priorities"), ARRAY(Text)))
    .table_valued("value", name="wanted_priority")
    .render_derived()
)
_of_each = (
    select(TaskRow.id)
    .where(
        TaskRow.status == _status.c.value,
        TaskRow.priority == _priority.c.value,
        TaskRow.id < _before,
    )
    .order_by(TaskRow.id.desc())
    .limit(bindparam("p_most", type_=BigInteger))
    .lateral("of_each")
)
_newest = (
    select(_of_each.c.id)
    .select_from(_status)
    .join(_priority, true())
    .join(_of_each, true())
    .order_by(_of_each.c.id.desc())
    .offset(_skip)
    .limit(_limit)
    .cte("newest")
)
_FILTERED_PAGE = (
    select(*_TEXTS).join(_newest, TaskRow.id == _newest.c.id).order_by(TaskRow.id.desc())
)
