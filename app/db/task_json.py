"""The JSON of a task as SQL: PostgreSQL itself writes what is shown.

To make Python values of rows, and JSON of the values, takes ten times as long, and a large payload
many times its size in memory. Where a payload may hold secrets, a mark stands for it until somebody
else has concealed them.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Float, Text, bindparam, case, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from app.db.models import TaskRow

# Stands for a payload. JSON has it only escaped (RFC 8259, section 7).
MARK = "\x01"


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for tasks that do not say it themselves, and which types have no secrets."""

    # JSON: of each type's name, the JSON of its back-off and of its longest attempt in seconds.
    backoffs: str
    limits: str
    # Those of types that are not known here.
    backoff: str
    longest_seconds: float
    # The names of the types whose payloads may be shown as they are.
    open_types: tuple[str, ...]


def _json(column: Any) -> Any:
    return func.coalesce(cast(func.to_json(column), Text), "null")


def _time(column: Any) -> Any:
    # Not in the session's time zone, which a pooler may have changed. This is a third faster than
    # to_char, which takes as long for a page as finding its rows.
    return func.replace(cast(func.timezone("UTC", column), Text), " ", "T")


def _time_or_null(column: Any) -> Any:
    # Unlike concat, the operator makes nothing of nothing.
    return func.coalesce(literal('"') + _time(column) + literal('Z"'), "null")


def _once(value: Any) -> Any:
    """Return what PostgreSQL is to make of a parameter once for a statement, not for each row."""
    return select(value).scalar_subquery()


def _joined(*parts: Any) -> Any:
    """Return the SQL that joins texts and columns; the fewer parts, the faster."""
    merged: list[Any] = []
    for part in parts:
        if merged and isinstance(merged[-1], str) and isinstance(part, str):
            merged[-1] += part
        else:
            merged.append(part)
    return func.concat(*merged)


_longest = bindparam("p_longest", type_=Float)
_is_open = TaskRow.type == func.any(cast(bindparam("p_open"), ARRAY(Text)))
_backoff = func.coalesce(
    cast(TaskRow.backoff, Text),
    _once(cast(bindparam("p_backoffs", type_=Text), JSONB)).op("->>")(TaskRow.type),
    bindparam("p_backoff", type_=Text),
)
_timeout_seconds = func.coalesce(
    cast(case((TaskRow.timeout_seconds < _longest, TaskRow.timeout_seconds)), Text),
    case((TaskRow.timeout_seconds.is_not(None), cast(_longest, Text))),
    _once(cast(bindparam("p_limits", type_=Text), JSONB)).op("->>")(TaskRow.type),
    cast(_longest, Text),
)
# A whole number is written as one with a fraction, as it always was.
_progress = case(
    (TaskRow.progress.in_([0, 1]), func.concat(TaskRow.progress, ".0")),
    else_=cast(TaskRow.progress, Text),
)
# What a CHECK constraint allows needs no escaping.
JSON = _joined(
    '{"id":', TaskRow.id,
    ',"title":', func.to_json(TaskRow.title),
    ',"description":', _json(TaskRow.description),
    ',"priority":"', TaskRow.priority,
    '","status":"', TaskRow.status,
    '","created_at":"', _time(TaskRow.created_at),
    'Z","started_at":', _time_or_null(TaskRow.started_at),
    ',"completed_at":', _time_or_null(TaskRow.completed_at),
    ',"result":', func.coalesce(cast(TaskRow.result, Text), "null"),
    ',"error_info":', _json(TaskRow.error_info),
    ',"type":', func.to_json(TaskRow.type),
    ',"payload":', case((_is_open, cast(TaskRow.payload, Text)), else_=MARK),
    ',"queue":"', TaskRow.queue,
    '","attempt":', TaskRow.attempt,
    ',"max_attempts":', TaskRow.max_attempts,
    ',"backoff":', _backoff,
    ',"timeout_seconds":', _timeout_seconds,
    ',"run_at":"', _time(TaskRow.run_at),
    'Z","updated_at":"', _time(TaskRow.updated_at),
    'Z","cancel_requested_at":', _time_or_null(TaskRow.cancel_requested_at),
    ',"worker":', _json(TaskRow.worker),
    ',"progress":', _progress,
    ',"progress_note":', _json(TaskRow.progress_note), "}",
)  # fmt: skip
# A payload that somebody else has to conceal, or null.
CONCEALED = case((~_is_open, cast(TaskRow.payload, Text)))


def parameters(terms: Terms) -> dict[str, Any]:
    """Return the terms as the parameters of every statement with `JSON` in it."""
    return {
        "p_backoffs": terms.backoffs,
        "p_limits": terms.limits,
        "p_backoff": terms.backoff,
        "p_longest": terms.longest_seconds,
        "p_open": list(terms.open_types),
    }
