"""What a worker may start, and when: queues, times, types that it does not know."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db import attempts, creation, history, maintenance, set_aside, workers
from app.db.engine import Connection
from app.domain.priority import QueueName
from app.domain.retry import Backoff
from app.domain.status import Status
from tests.integration.rows import (
    BROKEN,
    NEW,
    OLDER,
    SILENT,
    TYPES,
    WORKER,
    create,
    message,
    now,
    read,
)


def test_a_claim_refuses_another_queue_and_a_time_to_come(connection: Connection) -> None:
    task = create(connection)
    assert attempts.claim(connection, task.id, QueueName.LOW, WORKER, 15, TYPES) is None
    first = attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15, TYPES)
    assert first is not None
    attempts.schedule_retry(connection, first, BROKEN, 60)
    assert attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15, TYPES) is None


def test_a_claim_leaves_a_type_that_the_worker_does_not_know(connection: Connection) -> None:
    task = create(connection)
    for types in ([], OLDER):
        assert attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15, types) is None
    assert read(connection, task.id) == task
    types = [*OLDER, *TYPES]
    assert attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15, types)


def test_a_task_of_an_unknown_type_waits_longer_and_longer_and_fails_in_the_end(
    connection: Connection,
) -> None:
    task = create(connection)

    def ask_after(seconds: float) -> float:
        """Return how long it waits when it was set aside for the first time so long ago."""
        connection.execute(
            text("UPDATE tasks SET run_at = now(), set_aside_at = now() - :ago"),
            {"ago": timedelta(seconds=seconds)},
        )
        assert set_aside.fail_unknown(connection, task.id, OLDER, 600, SILENT) is None
        aside = set_aside.set_aside(connection, task.id, QueueName.MEDIUM, OLDER, SILENT)
        assert aside is not None
        assert aside.dispatched_at is None
        return (aside.run_at - now(connection)).total_seconds()

    first = set_aside.set_aside(connection, task.id, QueueName.MEDIUM, OLDER, SILENT)
    assert first is not None
    assert (first.run_at - now(connection)).total_seconds() == 0.5
    assert [ask_after(seconds) for seconds in (1, 8, 40, 599)] == [0.5, 2, 10, 30]

    ask_after(600)
    connection.execute(text("UPDATE tasks SET set_aside_at = now() - interval '601 s'"))
    assert set_aside.fail_unknown(connection, task.id, TYPES, 600, SILENT) is None
    failed = set_aside.fail_unknown(connection, task.id, OLDER, 600, SILENT)
    assert failed is not None
    assert failed.status is Status.FAILED
    assert failed.error_info == (
        "No worker knows the task type simulated_work; it has waited for one for 601 s."
    )
    assert failed.completed_at is not None
    assert history.attempts_of(connection, task.id, skip=0, limit=10) == []


def test_a_task_is_not_given_up_while_a_living_worker_knows_its_type(
    connection: Connection,
) -> None:
    task = create(connection)
    workers.beat(connection, "older@test", 2, OLDER)
    workers.beat(connection, "before-types@test", 2)
    workers.beat(connection, "busy@test", 2, TYPES)
    connection.execute(text("UPDATE workers SET types = NULL WHERE name LIKE 'before%'"))

    def wait(seconds: float) -> None:
        connection.execute(
            text("UPDATE tasks SET run_at = now(), set_aside_at = now() - :ago"),
            {"ago": timedelta(seconds=seconds)},
        )

    wait(3600)
    assert set_aside.fail_unknown(connection, task.id, OLDER, 600, SILENT) is None
    aside = set_aside.set_aside(connection, task.id, QueueName.MEDIUM, OLDER, SILENT)
    assert aside is not None
    assert (aside.run_at - now(connection)).total_seconds() == 3

    wait(3600)
    connection.execute(
        text("UPDATE workers SET seen_at = now() - interval '1 min' WHERE name = 'busy@test'")
    )
    assert set_aside.fail_unknown(connection, task.id, OLDER, 600, SILENT) is not None


def test_the_time_in_which_nobody_offered_a_task_does_not_count(connection: Connection) -> None:
    task = create(connection)
    connection.execute(
        text(
            "UPDATE tasks SET set_aside_at = now() - interval '1 h',"
            " run_at = now() - interval '50 min'"
        )
    )
    assert set_aside.fail_unknown(connection, task.id, OLDER, 600, SILENT) is None
    assert set_aside.set_aside(connection, task.id, QueueName.MEDIUM, OLDER, SILENT)
    since = connection.execute(text("SELECT set_aside_at FROM tasks")).scalar_one()
    assert since == now(connection)


def test_a_task_that_is_set_aside_gives_up_the_room_of_those_that_were_raised(
    connection: Connection,
) -> None:
    task = create(connection)
    connection.execute(text("UPDATE tasks SET queue = 'overdue'"))
    aside = set_aside.set_aside(connection, task.id, QueueName.OVERDUE, OLDER, SILENT)
    assert aside is not None
    assert aside.queue is QueueName.MEDIUM


def test_a_worker_sets_nothing_aside_that_another_queue_or_a_later_time_is_for(
    connection: Connection,
) -> None:
    task = create(connection)
    assert set_aside.set_aside(connection, task.id, QueueName.LOW, OLDER, SILENT) is None
    assert set_aside.set_aside(connection, task.id, QueueName.MEDIUM, TYPES, SILENT) is None
    assert set_aside.set_aside(connection, task.id, QueueName.MEDIUM, OLDER, SILENT)
    # It waits now, and a double of its message does not make it wait longer.
    assert set_aside.set_aside(connection, task.id, QueueName.MEDIUM, OLDER, SILENT) is None


def test_a_task_that_found_its_worker_is_given_all_of_the_time_again(
    connection: Connection,
) -> None:
    task = create(connection)
    assert set_aside.set_aside(connection, task.id, QueueName.MEDIUM, OLDER, SILENT)
    connection.execute(
        text("UPDATE tasks SET run_at = now(), set_aside_at = now() - interval '1 h'")
    )
    running = attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15, TYPES)
    assert running is not None
    assert attempts.schedule_retry(connection, running, BROKEN, 0)
    assert set_aside.fail_unknown(connection, task.id, OLDER, 60, SILENT) is None


@pytest.mark.parametrize("delay", [0.0, 60.0])
def test_a_task_is_pending_at_once_if_its_time_is_to_come(
    connection: Connection, delay: float
) -> None:
    created_at = now(connection)
    later = timedelta(seconds=delay)
    by_time = creation.insert_task(connection, replace(NEW, run_at=created_at + later))
    by_delay = creation.insert_task(connection, replace(NEW, delay_seconds=delay))
    past = creation.insert_task(connection, replace(NEW, run_at=created_at - timedelta(days=400)))

    for task in (by_time, by_delay):
        assert task.status is (Status.PENDING if delay else Status.NEW)
        assert (task.run_at, task.dispatched_at) == (created_at + later, None)
        may_run = attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15, TYPES)
        assert (may_run is None) == bool(delay)
    assert (past.status, past.run_at) == (Status.NEW, created_at)


def test_what_a_task_says_of_its_own_retries_comes_back_as_it_was(connection: Connection) -> None:
    own = Backoff(initial_seconds=0.5, factor=3, max_seconds=60, jitter=False)
    task = creation.insert_task(connection, replace(NEW, backoff=own, timeout_seconds=2.5))
    assert (task.backoff, task.timeout_seconds) == (own, 2.5)
    assert read(connection, task.id) == task
    assert create(connection).backoff is None


def test_a_worker_faster_than_the_record_of_its_message_loses_nothing(
    connection: Connection,
) -> None:
    task = create(connection)
    assert attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15, TYPES)
    assert not maintenance.mark_dispatched(connection, [message(task)])
    assert read(connection, task.id).status is Status.IN_PROGRESS
