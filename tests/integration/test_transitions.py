"""The status model against real PostgreSQL: every transition from every status, and the fence."""

import pytest
import sqlalchemy
from sqlalchemy import text

from app.db import attempts, maintenance, promotion, tasks
from app.db.engine import Connection
from app.domain import transitions
from app.domain.priority import Priority, QueueName
from app.domain.status import FINAL, Status
from app.domain.task import NewTask, Task, TaskMessage

NEW = NewTask("a task", None, Priority.MEDIUM, "simulated_work", {}, 3)
WORKER = "worker@test/1"


def create(connection: Connection) -> Task:
    return tasks.insert_task(connection, NEW)


def claimed(connection: Connection) -> Task:
    task = attempts.claim(connection, create(connection).id, QueueName.MEDIUM, WORKER, 15)
    assert task is not None
    return task


def put_in(connection: Connection, status: Status) -> Task:
    """Return a task that has reached a status by the service's own transitions."""
    match status:
        case Status.NEW:
            return create(connection)
        case Status.PENDING:
            task = create(connection)
            maintenance.mark_dispatched(connection, [message(task)])
        case Status.IN_PROGRESS:
            task = claimed(connection)
        case Status.COMPLETED:
            task = claimed(connection)
            attempts.complete(connection, task, "done")
        case Status.FAILED:
            task = claimed(connection)
            attempts.fail(connection, task, "broken")
        case Status.CANCELLED:
            task = create(connection)
            tasks.cancel_waiting(connection, task.id)
    return read(connection, task.id)


def read(connection: Connection, task_id: int) -> Task:
    task = tasks.get(connection, task_id)
    assert task is not None
    return task


def message(task: Task) -> TaskMessage:
    return TaskMessage(task.id, task.queue, task.type, task.title, task.updated_at)


def expire(connection: Connection, task: Task) -> None:
    connection.execute(
        text("UPDATE tasks SET lease_expires_at = now() - interval '1 s' WHERE id = :id"),
        {"id": task.id},
    )


def dispatched(connection: Connection, task: Task) -> object:
    # As a task whose message was lost, or that changed its queue: it is published once more.
    connection.execute(text("UPDATE tasks SET dispatched_at = NULL WHERE status = 'PENDING'"))
    return maintenance.mark_dispatched(connection, [message(task)])


def cancelled_running(connection: Connection, task: Task) -> object:
    tasks.request_cancel(connection, task.id)
    return attempts.cancel_running(connection, task)


def rescued(
    connection: Connection, task: Task, *, crash_limit: int, cancel: bool = False
) -> object:
    if cancel:
        tasks.request_cancel(connection, task.id)
    if task.status is Status.IN_PROGRESS:
        expire(connection, task)
    return maintenance.rescue_lapsed(connection, crash_limit, 10)


def promoted(connection: Connection, task: Task) -> object:
    connection.execute(text("UPDATE tasks SET run_at = now() - interval '1 hour'"))
    return promotion.promote(connection, QueueName.HIGH, 60, 10)


def message_lost(connection: Connection, task: Task) -> object:
    connection.execute(
        text("UPDATE tasks SET dispatched_at = now() - interval '1 h' WHERE status = 'PENDING'")
    )
    return maintenance.forget_lost_messages(connection, QueueName.MEDIUM, None, 2, 10)


# What each named function does, called on a task of any status.
MOVES = {
    transitions.DISPATCHED: dispatched,
    transitions.REPRIORITISED: lambda c, t: tasks.move_waiting(c, t.id, Priority.HIGH),
    transitions.REPRIORITISED_RUNNING: lambda c, t: tasks.move_running(c, t.id, Priority.HIGH),
    transitions.CANCELLED_WAITING: lambda c, t: tasks.cancel_waiting(c, t.id),
    transitions.CANCEL_REQUESTED: lambda c, t: tasks.request_cancel(c, t.id),
    transitions.CLAIMED: lambda c, t: attempts.claim(c, t.id, QueueName.MEDIUM, WORKER, 15),
    transitions.COMPLETED: lambda c, t: attempts.complete(c, t, {"answer": 42}),
    transitions.FAILED: lambda c, t: attempts.fail(c, t, "broken"),
    transitions.RETRY_SCHEDULED: lambda c, t: attempts.schedule_retry(c, t, "broken", 5),
    transitions.RELEASED: attempts.release,
    transitions.CANCELLED_RUNNING: cancelled_running,
    transitions.RESCUED: lambda c, t: rescued(c, t, crash_limit=3),
    transitions.CRASH_LIMIT_REACHED: lambda c, t: rescued(c, t, crash_limit=1),
    transitions.RESCUE_CANCELLED: lambda c, t: rescued(c, t, crash_limit=3, cancel=True),
    transitions.PROMOTED: promoted,
    transitions.MESSAGE_LOST: message_lost,
}


def test_each_transition_of_the_model_is_tried_here() -> None:
    assert set(MOVES) == set(transitions.ALL)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("transition", transitions.ALL, ids=lambda t: t.name)
def test_a_transition_starts_only_where_the_model_says(
    connection: Connection, transition: transitions.Transition, status: Status
) -> None:
    neighbours = {put_in(connection, other).id: other for other in FINAL}
    task = put_in(connection, status)
    # The row as it is now: a fence that fits, so that only the status can refuse.
    moved = MOVES[transition](connection, task)
    after = read(connection, task.id)

    if status in transition.sources:
        assert moved
        assert after.status is (transition.target or status)
        assert (after.completed_at is not None) == (after.status in FINAL)
        events = connection.execute(
            text("SELECT event FROM task_events WHERE task_id = :id ORDER BY id"),
            {"id": task.id},
        ).scalars()
        assert list(events)[-1] == transition.name
    else:
        assert not moved
        assert after.status is status
    for other_id, other in neighbours.items():
        assert read(connection, other_id).status is other


@pytest.mark.parametrize(
    "transition", [t for t in transitions.ALL if t.fenced], ids=lambda t: t.name
)
def test_an_earlier_attempt_can_write_nothing(
    connection: Connection, transition: transitions.Transition
) -> None:
    first = claimed(connection)
    expire(connection, first)
    maintenance.rescue_lapsed(connection, 3, 10)
    second = attempts.claim(connection, first.id, QueueName.MEDIUM, "worker@test/2", 15)
    assert second is not None
    tasks.request_cancel(connection, first.id)

    assert not MOVES[transition](connection, first)
    assert attempts.renew(connection, first, 15, 0.5, None) is None
    now = read(connection, first.id)
    assert (now.status, now.attempt, now.worker) == (Status.IN_PROGRESS, 2, "worker@test/2")


@pytest.mark.parametrize(
    "settlement",
    [transitions.COMPLETED, transitions.FAILED, transitions.RETRY_SCHEDULED, transitions.RELEASED],
    ids=lambda t: t.name,
)
def test_after_an_accepted_cancel_a_task_can_only_end_cancelled(
    connection: Connection, settlement: transitions.Transition
) -> None:
    task = claimed(connection)
    tasks.request_cancel(connection, task.id)

    assert not MOVES[settlement](connection, task)
    assert attempts.cancel_running(connection, task)
    assert read(connection, task.id).status is Status.CANCELLED


def test_a_running_task_is_not_cancelled_without_having_been_asked(connection: Connection) -> None:
    task = claimed(connection)
    assert attempts.cancel_running(connection, task) is None
    assert read(connection, task.id).status is Status.IN_PROGRESS


def test_a_claim_refuses_another_queue_and_a_time_to_come(connection: Connection) -> None:
    task = create(connection)
    assert attempts.claim(connection, task.id, QueueName.LOW, WORKER, 15) is None
    first = attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15)
    assert first is not None
    attempts.schedule_retry(connection, first, "broken", 60)
    assert attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15) is None


def test_a_worker_faster_than_the_record_of_its_message_loses_nothing(
    connection: Connection,
) -> None:
    task = create(connection)
    assert attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15)
    assert not maintenance.mark_dispatched(connection, [message(task)])
    assert read(connection, task.id).status is Status.IN_PROGRESS


@pytest.mark.parametrize(
    "ghost",
    [
        "status = 'IN_PROGRESS'",
        "status = 'COMPLETED'",
        "status = 'FAILED', completed_at = now()",
        "status = 'PENDING', completed_at = now()",
        "status = 'PENDING', cancel_requested_at = now()",
        "result = '1'",
        "attempt = 1",
        "status = 'LOST'",
        "priority = 'URGENT'",
        "queue = 'celery'",
        "progress = 1.5",
        "title = ''",
    ],
)
def test_the_database_itself_refuses_ghosts(connection: Connection, ghost: str) -> None:
    task = create(connection)
    with pytest.raises(sqlalchemy.exc.IntegrityError), connection.begin_nested():
        connection.execute(text(f"UPDATE tasks SET {ghost} WHERE id = {task.id}"))
