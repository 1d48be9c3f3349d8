"""The status model against real PostgreSQL: every transition from every status, and the fence."""

from datetime import UTC, datetime

import pytest
import sqlalchemy
from sqlalchemy import text

from app.db import attempts, history, maintenance, promotion, set_aside, tasks
from app.db.engine import Connection
from app.db.models import TASK_RULES
from app.domain import transitions
from app.domain.history import LogLine
from app.domain.priority import Priority, QueueName
from app.domain.status import FINAL, Status
from app.domain.task import Task
from tests.integration.rows import (
    BROKEN,
    OLDER,
    SILENT,
    TYPES,
    WORKER,
    claimed,
    create,
    everything,
    message,
    now,
    put_in,
    read,
)


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
    return maintenance.forget_lost_messages(connection, QueueName.MEDIUM, datetime.now(UTC), 2, 10)


def type_unknown(connection: Connection, task: Task) -> object:
    connection.execute(text("UPDATE tasks SET set_aside_at = now() - interval '1 hour'"))
    return set_aside.fail_unknown(connection, task.id, OLDER, 60, SILENT)


# What each named function does, called on a task of any status.
MOVES = {
    transitions.DISPATCHED: dispatched,
    transitions.REPRIORITISED: lambda c, t: tasks.move_waiting(c, t.id, Priority.HIGH),
    transitions.REPRIORITISED_RUNNING: lambda c, t: tasks.move_running(c, t.id, Priority.HIGH),
    transitions.CANCELLED_WAITING: lambda c, t: tasks.cancel_waiting(c, t.id),
    transitions.CANCEL_REQUESTED: lambda c, t: tasks.request_cancel(c, t.id),
    transitions.RETRIED: lambda c, t: tasks.run_again(c, t.id),
    transitions.SET_ASIDE: lambda c, t: set_aside.set_aside(c, t.id, t.queue, OLDER, SILENT),
    transitions.TYPE_UNKNOWN: type_unknown,
    transitions.CLAIMED: lambda c, t: attempts.claim(c, t.id, QueueName.MEDIUM, WORKER, 15, TYPES),
    transitions.COMPLETED: lambda c, t: attempts.complete(c, t, {"answer": 42}),
    transitions.FAILED: lambda c, t: attempts.fail(c, t, BROKEN),
    transitions.RETRY_SCHEDULED: lambda c, t: attempts.schedule_retry(c, t, BROKEN, 5),
    transitions.RELEASED: attempts.release,
    transitions.CANCELLED_RUNNING: cancelled_running,
    transitions.RESCUED: lambda c, t: rescued(c, t, crash_limit=3),
    transitions.CRASH_LIMIT_REACHED: lambda c, t: rescued(c, t, crash_limit=1),
    transitions.RESCUE_CANCELLED: lambda c, t: rescued(c, t, crash_limit=3, cancel=True),
    transitions.PROMOTED: promoted,
    transitions.MESSAGE_LOST: message_lost,
}


def message_of_one_lost(connection: Connection, task: Task) -> object:
    an_hour_ago = "UPDATE tasks SET dispatched_at = now() - interval '1 h' WHERE id = :id"
    connection.execute(text(an_hour_ago), {"id": task.id})
    return maintenance.forget_lost_messages(connection, QueueName.MEDIUM, datetime.now(UTC), 2, 10)


def one_promoted(connection: Connection, task: Task) -> object:
    an_hour_ago = "UPDATE tasks SET run_at = now() - interval '1 h' WHERE id = :id"
    connection.execute(text(an_hour_ago), {"id": task.id})
    return promotion.promote(connection, QueueName.HIGH, 60, 10)


# The same of a task alone, where what prepares it above does so with others too.
NARROW_MOVES = {
    transitions.DISPATCHED: lambda c, t: maintenance.mark_dispatched(c, [message(t)]),
    transitions.TYPE_UNKNOWN: lambda c, t: set_aside.fail_unknown(c, t.id, OLDER, 60, SILENT),
    transitions.PROMOTED: one_promoted,
    transitions.MESSAGE_LOST: message_of_one_lost,
}

# As what an attempt is on record that a transition ends, with which error and traceback.
RECORDS = {
    transitions.COMPLETED: ("COMPLETED", None, None),
    transitions.FAILED: ("FAILED", "broken", "Traceback: broken"),
    transitions.RETRY_SCHEDULED: ("FAILED", "broken", "Traceback: broken"),
    transitions.RELEASED: ("RELEASED", "The worker was shut down.", None),
    transitions.CANCELLED_RUNNING: ("CANCELLED", None, None),
    transitions.RESCUED: ("LOST", "The worker process died or fell silent.", None),
    transitions.CRASH_LIMIT_REACHED: ("LOST", "The worker process died or fell silent.", None),
    transitions.RESCUE_CANCELLED: ("CANCELLED", "The worker process was gone.", None),
}


def test_each_transition_of_the_model_is_tried_here() -> None:
    assert set(MOVES) == set(transitions.ALL)
    assert set(RECORDS) == {t for t in transitions.ALL if t.ends_attempt}


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("transition", transitions.ALL, ids=lambda t: t.name)
def test_a_transition_starts_only_where_the_model_says(
    connection: Connection, transition: transitions.Transition, status: Status
) -> None:
    neighbours = {put_in(connection, other).id: other for other in FINAL}
    task = put_in(connection, status)
    recorded = history.attempts_of(connection, task.id, skip=0, limit=10)
    # The row as it is now: a fence that fits, so that only the status can refuse.
    moved = MOVES[transition](connection, task)
    after = read(connection, task.id)
    attempts_after = history.attempts_of(connection, task.id, skip=0, limit=10)

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
    if status in transition.sources and transition.ends_attempt:
        (attempt,) = attempts_after
        outcome, error, traceback = RECORDS[transition]
        assert (attempt.number, attempt.worker) == (task.attempt, WORKER)
        assert (attempt.started_at, attempt.finished_at) == (task.started_at, after.updated_at)
        assert (attempt.outcome, attempt.error, attempt.traceback) == (outcome, error, traceback)
    else:
        # A claim begins one; nothing else touches the record.
        begun = 1 if transition is transitions.CLAIMED and moved else 0
        assert attempts_after[: len(recorded)] == recorded
        assert len(attempts_after) == len(recorded) + begun
    for other_id, other in neighbours.items():
        assert read(connection, other_id).status is other


@pytest.mark.parametrize("transition", transitions.ALL, ids=lambda t: t.name)
def test_a_transition_of_one_task_leaves_all_others_alone(
    connection: Connection, transition: transitions.Transition
) -> None:
    # Of each status one that is like the task that moves, but not to be moved.
    neighbours = [put_in(connection, status).id for status in Status]
    task = put_in(connection, min(transition.sources))
    connection.execute(
        text(
            "UPDATE tasks SET run_at = CASE WHEN id = :id THEN run_at ELSE :never END,"
            " set_aside_at = CASE WHEN id = :id THEN now() - interval '1 hour' END,"
            " dispatched_at = CASE WHEN status = 'PENDING' THEN now() END WHERE id >= :least"
        ),
        {"id": task.id, "never": "3000-01-01", "least": neighbours[0]},
    )
    before = everything(connection, *neighbours)
    assert NARROW_MOVES.get(transition, MOVES[transition])(connection, read(connection, task.id))
    assert everything(connection, *neighbours) == before


@pytest.mark.parametrize(
    "transition", [t for t in transitions.ALL if t.fenced], ids=lambda t: t.name
)
def test_an_earlier_attempt_can_write_nothing(
    connection: Connection, transition: transitions.Transition
) -> None:
    first = claimed(connection)
    expire(connection, first)
    maintenance.rescue_lapsed(connection, 3, 10)
    second = attempts.claim(connection, first.id, QueueName.MEDIUM, "worker@test/2", 15, TYPES)
    assert second is not None
    tasks.request_cancel(connection, first.id)
    record = everything(connection, first.id)

    assert not MOVES[transition](connection, first)
    history.add_lines(connection, first, [LogLine(1, 1, now(connection), "INFO", "too late")])
    assert everything(connection, first.id) == record
    assert attempts.renew(connection, first, 15, 0.5, None) is None
    current = read(connection, first.id)
    assert (current.attempt, current.worker) == (2, "worker@test/2")
    assert current.status is Status.IN_PROGRESS


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


# For each rule an UPDATE of a NEW task that breaks it, and none before it.
GHOSTS = {
    "title_length": "title = ''",
    "status_known": "status = 'LOST'",
    "priority_known": "priority = 'URGENT'",
    "queue_known": "queue = 'celery'",
    "lease": "status = 'IN_PROGRESS'",
    "completed_at": "status = 'PENDING', completed_at = now()",
    "running": "status = 'IN_PROGRESS', lease_expires_at = now()",
    "new_never_ran": "attempt = 1",
    "cancel_requested": "status = 'PENDING', cancel_requested_at = now()",
    "result_of_completed": "result = '1'",
    "failed_says_why": "status = 'FAILED', completed_at = now()",
    "progress_range": "progress = 1.5",
    "attempt_range": "status = 'PENDING', attempt = 9",
    "timeout_positive": "timeout_seconds = 0",
}


@pytest.mark.parametrize("rule", TASK_RULES)
def test_the_database_itself_refuses_ghosts(connection: Connection, rule: str) -> None:
    task = create(connection)
    with pytest.raises(sqlalchemy.exc.IntegrityError) as caught, connection.begin_nested():
        connection.execute(text(f"UPDATE tasks SET {GHOSTS[rule]} WHERE id = {task.id}"))
    assert caught.value.orig.diag.constraint_name == f"ck_tasks_{rule}"


def test_what_is_completed_has_ended(connection: Connection) -> None:
    task = create(connection)
    with pytest.raises(sqlalchemy.exc.IntegrityError), connection.begin_nested():
        connection.execute(text(f"UPDATE tasks SET status = 'COMPLETED' WHERE id = {task.id}"))


def test_the_database_has_the_rules_of_the_models(connection: Connection) -> None:
    source = connection.execute(
        text("SELECT prosrc FROM pg_proc WHERE proname = 'task_is_valid'")
    ).scalar_one()
    for name, rule in TASK_RULES.items():
        assert f"WHEN NOT ({rule}) THEN '{name}'" in source
        assert source.count(f"({rule})") == 2
