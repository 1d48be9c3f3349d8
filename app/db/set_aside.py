"""What a worker does with a task whose type it does not know: leave it for one that does.

Each statement compares the type itself, since a message is only a hint.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, Float, Text, bindparam, case, cast, exists, func

from app.db.attempts import seconds
from app.db.engine import Connection
from app.db.models import TaskRow, WorkerRow
from app.db.transitions import make_one, statement
from app.domain import transitions
from app.domain.priority import QueueName
from app.domain.task import Task

# In seconds: it is offered again after a quarter of the time that it has waited so, but after that
# long at least and that long at most: soon while some worker knows its type.
_SHORTEST_PAUSE, _LONGEST_WHILE_KNOWN, _LONGEST_PAUSE = 0.5, 3.0, 30.0
# One that was not offered for so many seconds longer than that has not waited for want of a worker
# that knows its type, but because none was there, or none was free.
_UNHEARD_SECONDS = 60.0


def fail_unknown(
    connection: Connection,
    task_id: int,
    types: Sequence[str],
    patience_seconds: float,
    silent_seconds: float,
) -> Task | None:
    """End a task as FAILED that has waited so long, if it is of none of these types.

    Not while a worker knows its type that has spoken within `silent_seconds`: it will come to it.
    """
    return make_one(
        connection,
        _FAIL_UNKNOWN,
        p_id=task_id,
        p_types=list(types),
        p_patience=patience_seconds,
        p_silent=silent_seconds,
    )


def set_aside(
    connection: Connection,
    task_id: int,
    queue: QueueName,
    types: Sequence[str],
    silent_seconds: float,
) -> Task | None:
    """Let a task wait a little and be published again, if it is of none of these types.

    Its wait in its queue begins anew, since it holds up nobody. Workers that have been silent for
    `silent_seconds` know nothing.
    """
    return make_one(
        connection,
        _SET_ASIDE,
        p_id=task_id,
        p_queue=queue.value,
        p_types=list(types),
        p_silent=silent_seconds,
    )


def _is_unknown() -> tuple[Any, ...]:
    known = cast(bindparam("p_types"), ARRAY(Text))
    return (TaskRow.id == bindparam("p_id"), TaskRow.type != func.all(known))


_known_elsewhere = (
    exists()
    .where(
        WorkerRow.seen_at >= func.now() - seconds("p_silent"),
        TaskRow.type == func.any(WorkerRow.types),
    )
    .correlate(TaskRow)
)
_unheard = TaskRow.run_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, _UNHEARD_SECONDS)
_since = case((_unheard, func.now()), else_=func.coalesce(TaskRow.set_aside_at, func.now()))
_quarter = func.date_part("epoch", func.now() - _since, type_=Float) * 0.25
_longest = case((_known_elsewhere, _LONGEST_WHILE_KNOWN), else_=_LONGEST_PAUSE)
_pause = func.least(func.greatest(_quarter, _SHORTEST_PAUSE), _longest)
_SET_ASIDE = statement(
    transitions.SET_ASIDE,
    *_is_unknown(),
    TaskRow.queue == bindparam("p_queue"),
    TaskRow.run_at <= func.now(),
    values={
        "set_aside_at": _since,
        "dispatched_at": None,
        "run_at": func.now() + func.make_interval(0, 0, 0, 0, 0, 0, _pause),
        # Raised, it would take up the room of those that could run.
        "queue": func.lower(TaskRow.priority),
    },
    detail="a worker does not know its type",
)
_FAIL_UNKNOWN = statement(
    transitions.TYPE_UNKNOWN,
    *_is_unknown(),
    TaskRow.set_aside_at < func.now() - seconds("p_patience"),
    ~_unheard,
    ~_known_elsewhere,
    values={
        "error_info": func.format(
            "No worker knows the task type %s; it has waited for one for %s s.",
            TaskRow.type,
            func.round(func.date_part("epoch", func.now() - TaskRow.set_aside_at)),
        )
    },
    detail="no worker knows its type",
)
