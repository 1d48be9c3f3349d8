"""What has waited longest among the tasks that could run now."""

from dataclasses import dataclass

from sqlalchemy import extract, func, select, union_all

from app.db.engine import Connection
from app.db.models import TaskRow
from app.domain.priority import QUEUES_BY_URGENCY, QueueName
from app.domain.status import WAITING


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """A task that is due, and for how many seconds it has been, by the database's clock."""

    task_id: int
    queue: QueueName
    seconds: float


def oldest_waiting(connection: Connection) -> WaitingTask | None:
    """Return the task that has waited longest since it became due, or None when none waits."""
    row = connection.execute(_OLDEST_WAITING).first()
    if row is None:
        return None
    task_id, queue, seconds = row
    return WaitingTask(task_id, QueueName(queue), float(seconds))


# The index on waiting tasks begins with the queue. One row from each queue's end of it costs a
# look-up each, while the oldest of all queues at once would be sought among all that waits.
_oldest_by_queue = union_all(
    *(
        select(
            select(TaskRow.id, TaskRow.queue, TaskRow.run_at)
            .where(
                TaskRow.status.in_(sorted(WAITING)),
                TaskRow.queue == queue.value,
                TaskRow.run_at <= func.now(),
            )
            .order_by(TaskRow.run_at)
            .limit(1)
            .subquery(queue.value)
        )
        for queue in QUEUES_BY_URGENCY
    )
).subquery("oldest_by_queue")
_OLDEST_WAITING = (
    select(
        _oldest_by_queue.c.id,
        _oldest_by_queue.c.queue,
        extract("epoch", func.now() - _oldest_by_queue.c.run_at).label("seconds"),
    )
    .order_by(_oldest_by_queue.c.run_at)
    .limit(1)
)
