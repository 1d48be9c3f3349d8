"""Who does a round of maintenance, and whether there is anything to do, in one statement.

Mostly there is not, and every worker asks twice a second.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select

from app.db.attempts import seconds
from app.db.engine import Connection
from app.db.maintenance import is_undispatched
from app.db.models import TaskRow
from app.domain.priority import QUEUES_BY_URGENCY, QueueName
from app.domain.status import WAITING, Status

# Any number that nothing else in this database locks will do.
_LOCK_KEY = 7_305_021_947
# A leader that freezes or vanishes loses the lock this soon, and another goes on. Longer than one
# that is well may wait for a frozen Redis.
_LEAD_TIMEOUT = "7s"


@dataclass(frozen=True, slots=True)
class Need:
    """What there may be to do in a round."""

    # When that was so, by the database's clock.
    at: datetime
    # A lease has run out.
    rescue: bool
    # A task has waited long enough to be raised.
    promotion: bool
    # A message should be in Redis.
    comparison: bool
    # A task is due and in no queue.
    dispatch: bool


def try_lead(
    connection: Connection, promotion_seconds: float, comparison_seconds: float
) -> Need | None:
    """Return what there is to do if this transaction leads, which it then does until it ends.

    A task may be raised once it has waited for `promotion_seconds`; a message counts that was
    published `comparison_seconds` ago. A transaction's lock instead of a session's: it cannot
    outlive its purpose, and it works through a pooler (PostgreSQL's manual, "Advisory Locks").
    """
    parameters = {"p_promotion": promotion_seconds, "p_comparison": comparison_seconds}
    leads, _, *needs = connection.execute(_TRY_LEAD, parameters).one()
    return Need(*needs) if leads else None


def _any(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return or_(*(exists().where(condition) for condition in conditions))


def _of_queue(queue: QueueName, *conditions: Any) -> ColumnElement[bool]:
    # The indexes of what waits begin with the queue.
    return and_(TaskRow.queue == queue.value, *conditions)


def _has_undispatched(queue: QueueName) -> ColumnElement[bool]:
    # The first of its index, in its order. Without one PostgreSQL might as well take the index of
    # what waits, and look in vain at a million tasks that are in Redis.
    first = (
        select(TaskRow.id)
        .where(TaskRow.queue == queue.value, is_undispatched())
        .order_by(TaskRow.run_at, TaskRow.id)
        .limit(1)
    )
    return first.scalar_subquery().is_not(None)


_WAITS = TaskRow.status.in_(sorted(WAITING))
_TRY_LEAD = select(
    func.pg_try_advisory_xact_lock(_LOCK_KEY),
    # true: for this transaction only.
    func.set_config("idle_in_transaction_session_timeout", _LEAD_TIMEOUT, True),
    func.now(),
    _any(
        and_(
            TaskRow.status == Status.IN_PROGRESS.value,
            TaskRow.lease_expires_at < func.now(),
        )
    ),
    _any(
        *(
            _of_queue(queue, _WAITS, TaskRow.run_at < func.now() - seconds("p_promotion"))
            for queue in QUEUES_BY_URGENCY[1:]
        )
    ),
    _any(
        *(
            _of_queue(
                queue,
                TaskRow.status == Status.PENDING.value,
                TaskRow.dispatched_at < func.now() - seconds("p_comparison"),
            )
            for queue in QUEUES_BY_URGENCY
        )
    ),
    or_(*(_has_undispatched(queue) for queue in QUEUES_BY_URGENCY)),
)
