"""Stores new tasks, as many at once as there are, each with the first line of its timeline."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    DateTime,
    Float,
    Integer,
    Interval,
    Text,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.db.attempts import rfc3339
from app.db.engine import Connection
from app.db.models import TaskEventRow, TaskRow
from app.domain import transitions
from app.domain.priority import queue_for
from app.domain.status import Status
from app.domain.task import NewTask, Task


def insert_tasks(connection: Connection, new: Sequence[NewTask]) -> list[Task]:
    """Store tasks and return them in their order, all or none, in one statement.

    Each is PENDING if its time is yet to come, by the database's clock, and NEW otherwise.
    """
    rows = connection.execute(
        _INSERT,
        {
            "p_title": [task.title for task in new],
            "p_description": [task.description for task in new],
            "p_priority": [task.priority.value for task in new],
            "p_type": [task.type for task in new],
            "p_payload": [_json(task.payload) for task in new],
            "p_max_attempts": [task.max_attempts for task in new],
            "p_backoff": [task.backoff and _json(asdict(task.backoff)) for task in new],
            "p_timeout_seconds": [task.timeout_seconds for task in new],
            "p_run_at": [task.run_at for task in new],
            "p_delay": [task.delay_seconds for task in new],
        },
    )
    return [_stored(task, *row) for task, row in zip(new, rows, strict=True)]


def insert_task(connection: Connection, new: NewTask) -> Task:
    """Store one task."""
    (task,) = insert_tasks(connection, [new])
    return task


def _json(value: Any) -> str:
    return json.dumps(value) if value else "{}"


def _stored(
    new: NewTask, task_id: int, status: str, run_at: datetime, created_at: datetime
) -> Task:
    """Return a new task as its row is now; what the database did not decide is as it was sent."""
    return Task(
        id=task_id,
        title=new.title,
        description=new.description,
        priority=new.priority,
        status=Status(status),
        type=new.type,
        payload=new.payload,
        queue=queue_for(new.priority),
        attempt=0,
        max_attempts=new.max_attempts,
        failures=0,
        crashes=0,
        backoff=new.backoff,
        timeout_seconds=new.timeout_seconds,
        run_at=run_at,
        dispatched_at=None,
        created_at=created_at,
        updated_at=created_at,
        started_at=None,
        completed_at=None,
        cancel_requested_at=None,
        worker=None,
        progress=0.0,
        progress_note=None,
        result=None,
        error_info=None,
    )


def _array(name: str, kind: Any) -> Any:
    return cast(bindparam(name), ARRAY(kind))


_TIME = DateTime(timezone=True)
_given = (
    func.unnest(
        _array("p_title", Text),
        _array("p_description", Text),
        _array("p_priority", Text),
        _array("p_type", Text),
        _array("p_payload", Text),
        _array("p_max_attempts", Integer),
        _array("p_backoff", Text),
        _array("p_timeout_seconds", Float),
        _array("p_run_at", _TIME),
        _array("p_delay", Float),
    )
    .table_valued(
        "title",
        "description",
        "priority",
        "type",
        "payload",
        "max_attempts",
        "backoff",
        "timeout_seconds",
        "run_at",
        "delay",
        with_ordinality="place",
        name="given",
    )
    .render_derived()
)
_delay = func.make_interval(0, 0, 0, 0, 0, 0, _given.c.delay, type_=Interval)
_due_at = func.greatest(func.coalesce(_given.c.run_at, func.now()), func.now() + _delay)
_columns: dict[str, Any] = {
    "title": _given.c.title,
    "description": _given.c.description,
    "priority": _given.c.priority,
    "queue": func.lower(_given.c.priority),
    "type": _given.c.type,
    "payload": cast(_given.c.payload, JSONB),
    "max_attempts": _given.c.max_attempts,
    "backoff": cast(_given.c.backoff, JSONB),
    "timeout_seconds": _given.c.timeout_seconds,
    "run_at": _due_at,
    "status": case((_due_at > func.now(), Status.PENDING.value), else_=Status.NEW.value),
}
# Ids are drawn in the order of the rows, after they have been sorted (PostgreSQL's manual,
# "INSERT"), so that the order of the ids is the order of what was given.
_new = (
    insert(TaskRow)
    .from_select(
        list(_columns),
        select(*_columns.values()).order_by(_given.c.place),
        include_defaults=False,
    )
    .returning(TaskRow.id, TaskRow.status, TaskRow.run_at, TaskRow.created_at)
    .cte("new")
)
_when = case((_new.c.run_at > _new.c.created_at, "to run at " + rfc3339(_new.c.run_at)))
_logged = (
    insert(TaskEventRow)
    .from_select(
        ["task_id", "event", "status", "attempt", "detail"],
        select(_new.c.id, literal(transitions.CREATED), _new.c.status, literal(0), _when).order_by(
            _new.c.id
        ),
    )
    .cte("logged")
)
_INSERT = (
    select(_new.c.id, _new.c.status, _new.c.run_at, _new.c.created_at)
    .order_by(_new.c.id)
    .add_cte(_logged)
)
