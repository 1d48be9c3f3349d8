"""Deletes what ended long ago, a few tasks at a time, without waiting for anybody."""

from sqlalchemy import any_, bindparam, delete, func, select

from app.db.attempts import seconds
from app.db.engine import Connection
from app.db.models import TaskRow
from app.domain.status import FINAL


def delete_ended(connection: Connection, age_seconds: float, limit: int) -> int:
    """Delete up to `limit` tasks that ended longer ago than this, those that ended first.

    Their history goes with them. A row that somebody holds is skipped: it is being changed, for
    instance by a person who runs the task again. Returns how many were deleted.
    """
    return connection.execute(_DELETE_ENDED, {"p_age": age_seconds, "p_limit": limit}).rowcount


# Said of the row as it is when it is found, when it is locked and when it is deleted: a task that
# is run again, or that has ended anew meanwhile, is none of these.
_ENDED = (
    TaskRow.status.in_(sorted(FINAL)),
    TaskRow.completed_at < func.now() - seconds("p_age"),
)
# An array, not a join with a subquery: PostgreSQL reads it once, and looks each id up by the key,
# whatever number it expects. For a join it may prefer to read the whole table.
_FOUND = func.array(
    select(TaskRow.id)
    .where(*_ENDED)
    .order_by(TaskRow.completed_at)
    .limit(bindparam("p_limit"))
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
_DELETE_ENDED = delete(TaskRow).where(TaskRow.id == any_(_FOUND), *_ENDED)
