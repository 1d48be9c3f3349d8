"""What maintenance repairs: lost messages, lost publishers, due retries, starvation; no more."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text

from app.broker.celery import create_celery
from app.broker.publisher import Publisher
from app.db import attempts, creation, tasks, workers
from app.db.engine import Database
from app.domain.priority import Priority, QueueName
from app.domain.retry import Backoff
from app.domain.status import Status
from app.domain.task import NewTask, Task, TaskMessage
from app.services.lifecycle import maintenance
from app.services.lifecycle.attempts import Failed, Settled, settle
from app.services.lifecycle.dispatch import dispatch, record
from app.services.lifecycle.lost_messages import LostMessages
from app.settings import Settings
from tests.support import wait_for

TYPES = ["simulated_work"]


def add(database: Database, priority: Priority = Priority.MEDIUM) -> Task:
    with database.transaction() as connection:
        return creation.insert_task(
            connection, NewTask("a task", None, priority, "simulated_work", {}, 3)
        )


def add_dispatched(database: Database, publisher: Publisher, priority: Priority) -> Task:
    task = add(database, priority)
    message = TaskMessage(task.id, task.queue, task.type, task.title, task.created_at)
    assert dispatch(database, publisher, [message])
    return read(database, task.id)


def read(database: Database, task_id: int) -> Task:
    with database.transaction() as connection:
        task = tasks.get(connection, task_id)
    assert task is not None
    return task


def age(database: Database, task: Task, seconds: float) -> None:
    """Let a task have been stored and dispatched this much earlier."""
    with database.transaction() as connection:
        connection.execute(
            text(
                "UPDATE tasks SET created_at = created_at - :by, run_at = run_at - :by,"
                " updated_at = updated_at - :by, dispatched_at = dispatched_at - :by WHERE id = :id"
            ),
            {"by": timedelta(seconds=seconds), "id": task.id},
        )


def run_round(database: Database, publisher: Publisher, settings: Settings) -> bool:
    """Do a round that trusts its first look into Redis."""
    finder = LostMessages(margin_seconds=2, handover_seconds=0)
    return maintenance.run_round(database, publisher, settings, finder)


def messages(queues: Any, queue: str) -> int:
    return int(queues.llen(queue))


def test_a_task_whose_api_died_before_publishing_is_dispatched(
    database: Database, publisher: Publisher, settings: Settings, queues: Any
) -> None:
    abandoned, fresh = add(database), add(database)
    age(database, abandoned, 5)

    assert run_round(database, publisher, settings)

    assert read(database, abandoned.id).status is Status.PENDING
    assert messages(queues, "medium") == 1
    # A moment old: its own API process is about to publish it.
    assert read(database, fresh.id).status is Status.NEW


def test_all_messages_lost_are_published_again_the_most_urgent_first(
    database: Database, publisher: Publisher, settings: Settings, queues: Any
) -> None:
    waiting = [add_dispatched(database, publisher, p) for p in Priority for _ in range(3)]
    for task in waiting:
        age(database, task, 5)
    queues.flushall()

    run_round(database, publisher, settings)

    assert [messages(queues, queue) for queue in ("high", "medium", "low")] == [3, 3, 3]
    # And once is enough.
    run_round(database, publisher, settings)
    assert [messages(queues, queue) for queue in ("high", "medium", "low")] == [3, 3, 3]


def test_messages_that_are_lost_right_after_publishing_are_found_at_once(
    database: Database, publisher: Publisher, settings: Settings, queues: Any
) -> None:
    run_round(database, publisher, settings)
    waiting = [add_dispatched(database, publisher, p) for p in Priority]
    for task in waiting:
        age(database, task, 0.5)
    queues.flushall()

    run_round(database, publisher, settings)

    assert [messages(queues, queue) for queue in ("high", "medium", "low")] == [1, 1, 1]
    # Noticed once; a message taken since then is given its time.
    assert queues.rpop("low")
    run_round(database, publisher, settings)
    assert messages(queues, "low") == 0
    assert [read(database, task.id).status for task in waiting] == [Status.PENDING] * 3


def test_a_new_redis_is_noticed_in_the_first_round_though_nothing_waits(
    database: Database, publisher: Publisher, settings: Settings
) -> None:
    """Or it would seem to have lost everything later on, when a worker has taken something."""
    assert run_round(database, publisher, settings)
    assert not publisher.has_forgotten()


def test_one_message_lost_in_a_long_queue_is_found_and_the_others_are_left(
    database: Database, publisher: Publisher, settings: Settings, queues: Any
) -> None:
    lost = add_dispatched(database, publisher, Priority.LOW)
    # Taken by a worker that died before it could claim.
    assert queues.rpop("low")
    age(database, lost, 10)
    others = [add_dispatched(database, publisher, Priority.LOW) for _ in range(3)]

    run_round(database, publisher, settings)

    assert messages(queues, "low") == 4
    after = read(database, lost.id)
    assert after.dispatched_at is not None
    assert lost.dispatched_at is not None
    assert after.dispatched_at > lost.dispatched_at
    for other in others:
        assert read(database, other.id) == other


def test_tasks_that_wait_long_in_a_queue_are_not_taken_for_lost(
    database: Database, publisher: Publisher, settings: Settings, queues: Any
) -> None:
    # The message keeps its time; only the patience of two seconds has passed.
    long_ago = NewTask("a task", None, Priority.LOW, "simulated_work", {}, 1)
    with database.transaction() as connection:
        task = creation.insert_task(connection, long_ago)
    age(database, task, 60)
    aged = read(database, task.id)
    message = TaskMessage(aged.id, aged.queue, aged.type, aged.title, aged.created_at)
    dispatch(database, publisher, [message])

    run_round(database, publisher, settings)

    assert messages(queues, "low") == 1


def test_the_late_record_of_a_message_says_nothing_of_the_next_attempt(
    database: Database, publisher: Publisher, settings: Settings, queues: Any
) -> None:
    """A worker was faster than the record, the handler failed, and its retry is due at once."""
    task = add(database)
    message = TaskMessage(task.id, task.queue, task.type, task.title, task.updated_at)
    with database.transaction() as connection:
        claimed = attempts.claim(connection, task.id, task.queue, "one@test/1", 15, TYPES)
        assert claimed is not None
    at_once = Backoff(initial_seconds=0)
    settled = settle(database, claimed, Failed("broken", permanent=False), at_once)
    assert settled is Settled.RETRY_SCHEDULED

    record(database, [message])

    assert read(database, task.id).dispatched_at is None
    run_round(database, publisher, settings)
    assert read(database, task.id).dispatched_at is not None
    assert messages(queues, "medium") == 1


def test_a_clock_that_was_set_back_keeps_no_message_from_being_recorded(
    database: Database, publisher: Publisher, queues: Any
) -> None:
    task = add(database)
    with database.transaction() as connection:
        later = text("UPDATE tasks SET updated_at = now() + interval '1 minute' WHERE id = :id")
        connection.execute(later, {"id": task.id})
    dispatch(
        database, publisher, [TaskMessage(task.id, task.queue, task.type, "", task.created_at)]
    )
    assert read(database, task.id).dispatched_at == task.created_at


def test_a_foreign_message_in_a_queue_harms_nothing(
    database: Database, publisher: Publisher, settings: Settings, queues: Any
) -> None:
    task = add_dispatched(database, publisher, Priority.LOW)
    age(database, task, 60)
    for garbage in ("{", "[]", '{"headers": null}', '{"headers": {"dispatched_at": 5}}'):
        queues.rpush("low", garbage)
        assert run_round(database, publisher, settings)
    assert read(database, task.id).status is Status.PENDING


def test_a_retry_is_published_when_it_is_due_and_not_before(
    database: Database, publisher: Publisher, settings: Settings, queues: Any
) -> None:
    due, later = add(database), add(database)
    with database.transaction() as connection:
        connection.execute(
            text(
                "UPDATE tasks SET status = 'PENDING', attempt = 1, failures = 1, run_at = now() +"
                " CASE id WHEN :later THEN interval '1 min' ELSE interval '-1 ms' END"
            ),
            {"later": later.id},
        )

    run_round(database, publisher, settings)

    assert messages(queues, "medium") == 1
    assert read(database, due.id).dispatched_at is not None
    assert read(database, later.id).dispatched_at is None


def test_a_patient_task_is_raised_one_queue_after_another(
    database: Database, publisher: Publisher, settings: Settings, queues: Any
) -> None:
    task = add_dispatched(database, publisher, Priority.LOW)
    impatient = add_dispatched(database, publisher, Priority.LOW)

    for queue in (QueueName.MEDIUM, QueueName.HIGH, QueueName.OVERDUE):
        age(database, task, settings.max_wait_seconds / 4 + 1)
        run_round(database, publisher, settings)
        raised = read(database, task.id)
        assert (raised.queue, raised.priority) == (queue, Priority.LOW)
        assert messages(queues, queue) == 1
        assert read(database, impatient.id).queue is QueueName.LOW


def test_only_so_many_are_raised_as_leave_half_of_the_slots_to_others(
    database: Database, publisher: Publisher, settings: Settings, queues: Any
) -> None:
    patient = [add_dispatched(database, publisher, Priority.LOW) for _ in range(5)]
    for seconds, task in enumerate(reversed(patient)):
        age(database, task, settings.max_wait_seconds + 1 + seconds)
    with database.transaction() as connection:
        workers.beat(connection, "one@test", 3)
        workers.beat(connection, "two@test", 2)
        workers.beat(connection, "silent@test", 100)
        connection.execute(
            text("UPDATE workers SET seen_at = now() - interval '1 min' WHERE name ~ 'silent'")
        )

    def raised() -> list[int]:
        run_round(database, publisher, settings)
        found = [read(database, task.id) for task in patient]
        return [task.id for task in found if task.queue is QueueName.OVERDUE]

    # Of five slots two, by age, and no more as long as they wait or run.
    oldest = [task.id for task in patient]
    assert raised() == oldest[:2]
    with database.transaction() as connection:
        running = attempts.claim(connection, oldest[0], QueueName.OVERDUE, "one@test/1", 15, TYPES)
    assert running is not None
    assert raised() == oldest[:2]

    with database.transaction() as connection:
        attempts.complete(connection, running, None)
    assert raised() == oldest[:3]


def test_a_retry_begins_its_wait_anew_in_its_own_queue(
    database: Database, publisher: Publisher, settings: Settings
) -> None:
    task = add_dispatched(database, publisher, Priority.LOW)
    age(database, task, settings.max_wait_seconds)
    run_round(database, publisher, settings)
    with database.transaction() as connection:
        running = attempts.claim(connection, task.id, QueueName.OVERDUE, "one@test/1", 15, TYPES)
        assert running is not None
        attempts.schedule_retry(connection, running, attempts.Failure("broken"), 5)
    assert read(database, task.id).queue is QueueName.LOW


def test_only_one_round_runs_at_a_time(
    database: Database, publisher: Publisher, settings: Settings
) -> None:
    with database.transaction() as guard:
        guard.execute(text(f"SELECT pg_advisory_xact_lock({maintenance.rounds._LOCK_KEY})"))
        assert not run_round(database, publisher, settings)
    assert run_round(database, publisher, settings)


def test_a_leader_that_falls_silent_is_followed_by_another(
    database: Database, publisher: Publisher, settings: Settings
) -> None:
    with database.engine.connect() as silent:
        assert maintenance.rounds.try_lead(silent, 150, 0.3)
        assert not run_round(database, publisher, settings)

        # Nothing is said on its connection from here on, as by a process that is frozen.
        wait_for(lambda: run_round(database, publisher, settings), 12, "another one leads")
        silent.invalidate()


def test_a_batch_leaves_the_texts_of_its_tasks_in_the_database(
    database: Database, publisher: Publisher
) -> None:
    task = add(database)
    message = TaskMessage(task.id, task.queue, task.type, task.title, task.created_at)

    with database.transaction() as connection:
        change = maintenance.store._MARK_DISPATCHED
        parameters = {"p_ids": [task.id], "p_queues": ["medium"], "p_times": [task.created_at]}
        rows = connection.execute(change, parameters).mappings().all()
        connection.rollback()

    assert [set(row) for row in rows] == [{"id", "status", "attempt", "worker"}]
    assert dispatch(database, publisher, [message])
    assert read(database, task.id).status is Status.PENDING


def test_a_broker_that_is_away_leaves_tasks_where_they_are_found(
    database: Database, settings: Settings
) -> None:
    task = add(database)
    age(database, task, 5)
    nowhere = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})

    away = Publisher(create_celery(nowhere, publisher_only=True))
    assert run_round(database, away, settings)

    assert read(database, task.id).status is Status.NEW
