"""Lost is what had been taken at an earlier look and waits still, and not what is in a hand."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.broker.publisher import Publisher
from app.db import creation
from app.db.engine import Database
from app.domain.priority import Priority
from app.domain.task import NewTask, Task, TaskMessage
from app.services.lifecycle import lost_messages
from app.services.lifecycle.dispatch import dispatch
from app.services.lifecycle.lost_messages import LostMessages
from tests.integration.rows import read

HANDOVER = 1.0
MARGIN = 1.0


class Watch:
    """A finder, and the time from its start on, in seconds, as the tests say it is."""

    def __init__(self, database: Database, publisher: Publisher) -> None:
        self._at = 0.0
        self._finder = LostMessages(MARGIN, HANDOVER, clock=lambda: self._at)
        self._database = database
        self._publisher = publisher
        with database.transaction() as connection:
            self._start = connection.execute(text("SELECT now()")).scalar_one()

    def look(self, at: float, database_at: float | None = None) -> None:
        """Look; the database's clock may show another time."""
        self._at = at
        seconds = at if database_at is None else database_at
        self._finder.mark(self._database, self._publisher, self._start + timedelta(seconds=seconds))

    def dispatch(self, at: float, priority: Priority = Priority.LOW) -> Task:
        new = NewTask("задача", None, priority, "simulated_work", {}, 3)
        when = self._start + timedelta(seconds=at)
        with self._database.transaction() as connection:
            task = creation.insert_task(connection, new)
            # Nothing is recorded of a task that has changed since its message was made.
            aged = text("UPDATE tasks SET updated_at = :at WHERE id = :id")
            connection.execute(aged, {"at": when, "id": task.id})
        message = TaskMessage(task.id, task.queue, task.type, task.title, when)
        assert dispatch(self._database, self._publisher, [message])
        return task

    def found(self, *tasks: Task) -> list[bool]:
        """Return which of these are marked for publishing."""
        with self._database.transaction() as connection:
            return [read(connection, task.id).dispatched_at is None for task in tasks]


@pytest.fixture
def watch(database: Database, publisher: Publisher) -> Watch:
    # Each test has a new Redis, which has forgotten everything. These are about one that has not.
    assert publisher.has_forgotten()
    return Watch(database, publisher)


def test_a_message_that_was_just_taken_is_not_lost_however_long_it_had_waited(
    watch: Watch, queues: Any
) -> None:
    tasks = watch.dispatch(-3600), watch.dispatch(-3599)
    watch.look(0)
    assert queues.rpop("low", 2)

    # Taken after the first look, so that only the second one knows that they were.
    watch.look(HANDOVER + 0.1)
    watch.look(HANDOVER + 0.2)
    assert watch.found(*tasks) == [False, False]
    watch.look(2 * HANDOVER + 0.1)
    assert watch.found(*tasks) == [True, True]


def test_a_message_taken_at_a_gap_in_a_queue_is_not_lost(watch: Watch, queues: Any) -> None:
    """The next one in the queue was dispatched much later, as by an API that was away."""
    taken, next_one = watch.dispatch(-60), watch.dispatch(-5)
    watch.look(0)
    assert queues.rpop("low")

    watch.look(HANDOVER)
    assert watch.found(taken, next_one) == [False, False]
    watch.look(2 * HANDOVER)
    assert watch.found(taken, next_one) == [True, False]


def test_a_message_that_was_put_back_is_there(watch: Watch, queues: Any) -> None:
    task = watch.dispatch(-60)
    message = queues.rpop("low")
    watch.look(0)
    # As kombu does with what a worker that stops had taken and not begun.
    queues.rpush("low", message)

    watch.look(HANDOVER)
    assert watch.found(task) == [False]


def test_looks_in_quick_succession_wait_for_the_handover_and_no_longer(
    watch: Watch, queues: Any
) -> None:
    task = watch.dispatch(-60)
    queues.delete("low")

    for tenth in range(10):
        watch.look(tenth / 10)
        assert watch.found(task) == [False]
    watch.look(HANDOVER)
    assert watch.found(task) == [True]


def test_messages_out_of_order_by_less_than_the_margin_are_not_lost(
    watch: Watch, queues: Any
) -> None:
    """Two processes publish; what one dispatched first comes later in the queue."""
    watch.dispatch(-5)
    overtaken, lost = watch.dispatch(-5 - 0.9 * MARGIN), watch.dispatch(-5 - 1.1 * MARGIN)
    queues.lpop("low")

    watch.look(0)
    watch.look(HANDOVER)
    assert watch.found(overtaken, lost) == [False, True]


def test_a_database_clock_that_is_set_back_delays_nothing(watch: Watch, queues: Any) -> None:
    task = watch.dispatch(-600)
    queues.delete("low")
    watch.look(0)

    watch.look(HANDOVER, database_at=-300)
    assert watch.found(task) == [True]


def test_behind_a_message_that_is_dated_ahead_none_is_lost(watch: Watch, queues: Any) -> None:
    """The database's clock was set back since, so that what came later has earlier times."""
    watch.dispatch(300)
    behind = watch.dispatch(-5), watch.dispatch(-3)
    for second in range(4):
        watch.look(second * HANDOVER)
        assert watch.found(*behind) == [False, False]

    # Until it is taken.
    assert queues.rpop("low", 2)
    watch.look(4 * HANDOVER)
    watch.look(5 * HANDOVER)
    assert watch.found(*behind) == [True, False]


@pytest.mark.parametrize("ahead", [0.1 * MARGIN, 0.9 * MARGIN])
def test_nor_behind_one_that_is_dated_ahead_by_less_than_the_margin(
    watch: Watch, ahead: float
) -> None:
    watch.dispatch(ahead)
    behind = watch.dispatch(0)
    for second in range(4):
        watch.look(second * HANDOVER)
        assert watch.found(behind) == [False]


def test_the_handover_counts_from_when_redis_has_answered(
    watch: Watch, queues: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round may have had to wait for it, and the message been taken meanwhile."""
    task = watch.dispatch(-60)
    answered = watch._publisher.oldest_messages_at

    def late() -> Any:
        assert queues.rpop("low")
        watch._at += HANDOVER / 2
        return answered()

    with monkeypatch.context() as patch:
        patch.setattr(watch._publisher, "oldest_messages_at", late)
        watch.look(0)
    watch.look(HANDOVER)
    assert watch.found(task) == [False]
    watch.look(1.5 * HANDOVER)
    assert watch.found(task) == [True]


def test_when_redis_has_forgotten_everything_all_are_found_at_once(
    watch: Watch, queues: Any
) -> None:
    old, new = watch.dispatch(-60), watch.dispatch(-0.5)
    watch.look(-HANDOVER)
    queues.flushall()

    watch.look(0)
    assert watch.found(old, new) == [True, True]

    # Once; from then on the usual margin and handover hold.
    taken, next_one = watch.dispatch(-10), watch.dispatch(HANDOVER + 0.5)
    queues.delete("low")
    watch.look(HANDOVER / 2)
    assert watch.found(taken, next_one) == [False, False]
    watch.look(2 * HANDOVER)
    watch.look(3 * HANDOVER)
    assert watch.found(taken, next_one) == [True, False]
    watch.look(4 * HANDOVER)
    assert watch.found(next_one) == [True]


def test_what_is_published_again_while_not_all_is_marked_is_not_lost_once_more(
    watch: Watch, queues: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis has forgotten more than there is time for in a round."""
    many = [watch.dispatch(-60 + number) for number in range(3)]
    queues.flushall()
    with monkeypatch.context() as patch:
        patch.setattr(lost_messages, "BATCH", 1)
        patch.setattr(lost_messages, "batches", lambda: iter([None]))
        watch.look(0)
        assert watch.found(*many) == [True, False, False]
        again = watch.dispatch(0.1)
        assert queues.rpop("low")

        # Taken just now, and dispatched long enough ago for the margin.
        watch.look(1)
        watch.look(1.1)
        watch.look(1.2)
    assert watch.found(*many, again) == [True, True, True, False]
