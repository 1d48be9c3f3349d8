"""A task that FAILED or was CANCELLED and that a person runs again."""

from sqlalchemy import text

from app.db import attempts, history, tasks
from app.db.engine import Connection
from app.domain.history import AttemptOutcome
from app.domain.priority import Priority, QueueName
from app.domain.status import Status
from tests.integration.rows import BROKEN, NEW, TYPES, WORKER, claimed


def test_a_task_that_runs_again_counts_on_and_forgives_what_was(connection: Connection) -> None:
    task = claimed(connection)
    attempts.renew(connection, task, 15, 0.7, "nearly")
    attempts.fail(connection, task, BROKEN)
    connection.execute(text("UPDATE tasks SET crashes = 2, max_attempts = 1, queue = 'overdue'"))
    tasks.set_fields(connection, task.id, priority=Priority.LOW.value)

    again = tasks.run_again(connection, task.id)

    assert again is not None
    assert (again.status, again.attempt, again.max_attempts) == (Status.PENDING, 1, 2)
    assert (again.failures, again.crashes, again.queue) == (1, 0, QueueName.LOW)
    assert (again.completed_at, again.dispatched_at) == (None, None)
    assert (again.progress, again.progress_note) == (0.0, None)
    second = attempts.claim(connection, task.id, QueueName.LOW, "worker@test/2", 15, TYPES)
    assert second is not None
    # The attempt of old says nothing more, also when it had been frozen all the while.
    assert attempts.complete(connection, task, "late") is None
    assert attempts.renew(connection, task, 15, 0.5, None) is None
    assert attempts.complete(connection, second, "done")
    outcomes = [
        (a.number, a.outcome) for a in history.attempts_of(connection, task.id, skip=0, limit=10)
    ]
    assert outcomes == [(1, AttemptOutcome.FAILED), (2, AttemptOutcome.COMPLETED)]


def test_a_task_with_attempts_left_keeps_them_when_it_runs_again(connection: Connection) -> None:
    task = claimed(connection)
    attempts.fail(connection, task, BROKEN)
    again = tasks.run_again(connection, task.id)
    assert again is not None
    assert again.max_attempts == NEW.max_attempts


def test_a_cancelled_task_that_runs_again_is_not_cancelled_once_more(
    connection: Connection,
) -> None:
    task = claimed(connection)
    tasks.request_cancel(connection, task.id)
    assert attempts.cancel_running(connection, task)
    again = tasks.run_again(connection, task.id)
    assert again is not None
    assert again.cancel_requested_at is None
    assert attempts.cancel_running(connection, task) is None
    second = attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15, TYPES)
    assert second is not None
    assert attempts.cancel_running(connection, second) is None
    assert attempts.complete(connection, second, "done")
