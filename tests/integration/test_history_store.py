"""What is kept of a task's past: attempts, timeline and log lines, and how they are read."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from app.db import attempts, creation, history, maintenance, tasks
from app.db.engine import Connection, Database
from app.domain.history import AttemptOutcome, LogLine
from app.domain.priority import QueueName
from app.domain.retry import Backoff
from app.domain.task import ClaimedTask, Task
from app.services.lifecycle.attempts import Completed, Failed, Settled, settle, what_became_of
from tests.integration.rows import (
    BROKEN,
    NEW,
    TYPES,
    WORKER,
    claimed,
    create,
    everything,
    now,
    read,
)
from tests.support import wait_for


def line(
    connection: Connection, task: ClaimedTask, number: int, message: str = "a line"
) -> LogLine:
    return LogLine(task.attempt, number, now(connection), "INFO", message)


def claim_again(connection: Connection, task: ClaimedTask) -> ClaimedTask:
    again = attempts.claim(connection, task.id, QueueName.MEDIUM, WORKER, 15, TYPES)
    assert again is not None
    return again


def with_attempts(connection: Connection, count: int) -> ClaimedTask:
    """Return a task that runs after this many attempts that were handed back."""
    task = claimed(connection)
    for _ in range(count):
        assert attempts.release(connection, task)
        task = claim_again(connection, task)
    return task


def test_attempts_are_read_in_pages_and_the_one_that_runs_is_among_them(
    connection: Connection,
) -> None:
    neighbour, task = with_attempts(connection, 1), with_attempts(connection, 4)

    def page(skip: int, limit: int) -> list[int]:
        found = history.attempts_of(connection, task.id, skip=skip, limit=limit)
        return [attempt.number for attempt in found]

    assert page(0, 10) == [1, 2, 3, 4, 5]
    assert [page(0, 2), page(2, 2), page(4, 2), page(5, 2)] == [[1, 2], [3, 4], [5], []]
    *ended, running = history.attempts_of(connection, task.id, skip=0, limit=10)
    assert {attempt.outcome for attempt in ended} == {AttemptOutcome.RELEASED}
    assert all(attempt.finished_at == now(connection) for attempt in ended)
    assert (running.worker, running.started_at) == (WORKER, read(connection, task.id).started_at)
    assert (running.finished_at, running.outcome, running.error) == (None, None, None)
    attempts.complete(connection, task, None)
    assert page(0, 10) == [1, 2, 3, 4, 5]
    last = history.attempts_of(connection, task.id, skip=4, limit=10)
    assert [attempt.outcome for attempt in last] == [AttemptOutcome.COMPLETED]
    assert len(history.attempts_of(connection, neighbour.id, skip=0, limit=10)) == 2


def test_what_never_ran_or_is_not_there_has_no_attempts(connection: Connection) -> None:
    for task_id in (create(connection).id, 2**63 - 1):
        assert history.attempts_of(connection, task_id, skip=0, limit=10) == []
        assert history.lines_of(connection, task_id, attempt=None, skip=0, limit=10) == []


def test_a_timeline_is_read_in_pages_and_oldest_first(connection: Connection) -> None:
    task = claimed(connection)
    claimed(connection)
    attempts.schedule_retry(connection, task, BROKEN, 0)
    claim_again(connection, task)

    def page(skip: int, limit: int) -> list[str]:
        found = history.events_of(connection, task.id, skip=skip, limit=limit)
        return [event.event for event in found]

    names = ["created", "claimed", "retry_scheduled", "claimed"]
    assert page(0, 10) == names
    assert [page(0, 3), page(3, 3), page(4, 3)] == [names[:3], names[3:], []]
    retry = history.events_of(connection, task.id, skip=2, limit=1)[0]
    assert (retry.status, retry.attempt) == ("PENDING", 1)
    # All in one transaction here; each line has its own time all the same.
    times = [event.at for event in history.events_of(connection, task.id, skip=0, limit=10)]
    assert now(connection) < times[0] < times[1] < times[2] < times[3]
    assert retry.detail is not None
    assert retry.detail.endswith("Z, after: broken")


def test_the_timeline_of_a_scheduled_task_says_for_when(connection: Connection) -> None:
    at_once = create(connection)
    later = creation.insert_task(connection, replace(NEW, delay_seconds=3600.0))
    (created,) = history.events_of(connection, later.id, skip=0, limit=10)
    assert (created.event, created.status) == ("created", "PENDING")
    milliseconds = later.run_at.microsecond // 1000
    at = f"{later.run_at:%Y-%m-%dT%H:%M:%S}.{milliseconds:03}Z"
    assert created.detail == f"to run at {at}"
    assert history.events_of(connection, at_once.id, skip=0, limit=10)[0].detail is None


def test_lines_are_read_in_pages_of_one_attempt_or_of_all(connection: Connection) -> None:
    task = claimed(connection)
    history.add_lines(connection, claimed(connection), [line(connection, task, 1, "another's")])
    history.add_lines(connection, task, [line(connection, task, n, f"1.{n}") for n in (1, 2)])
    attempts.release(connection, task)
    second = claim_again(connection, task)
    history.add_lines(connection, second, [line(connection, second, n, f"2.{n}") for n in (1, 2)])

    def page(attempt: int | None, skip: int, limit: int) -> list[str]:
        found = history.lines_of(connection, task.id, attempt=attempt, skip=skip, limit=limit)
        assert [f"{one.attempt}.{one.number}" for one in found] == [one.message for one in found]
        return [one.message for one in found]

    assert page(None, 0, 10) == ["1.1", "1.2", "2.1", "2.2"]
    assert [page(None, 1, 2), page(None, 3, 2)] == [["1.2", "2.1"], ["2.2"]]
    assert [page(1, 0, 10), page(2, 1, 10), page(3, 0, 10)] == [["1.1", "1.2"], ["2.2"], []]


def test_a_line_is_stored_once_however_often_it_is_sent(connection: Connection) -> None:
    task = claimed(connection)
    first, second = line(connection, task, 1, "first"), line(connection, task, 2, "second")
    history.add_lines(connection, task, [first])
    history.add_lines(connection, task, [first, second])
    history.add_lines(connection, task, [first, second])
    history.add_lines(connection, task, [])
    assert history.lines_of(connection, task.id, attempt=None, skip=0, limit=9) == [first, second]


@pytest.mark.parametrize(
    "end",
    [
        lambda c, t: attempts.complete(c, t, None),
        lambda c, t: attempts.fail(c, t, BROKEN),
        attempts.release,
        lambda c, t: maintenance.rescue_from(c, WORKER, 3),
        lambda c, t: attempts.release(c, t) and claim_again(c, t),
    ],
    ids=["completed", "failed", "released", "rescued", "taken over"],
)
def test_an_attempt_that_is_over_adds_no_lines(
    connection: Connection, end: Callable[[Connection, Task], object]
) -> None:
    task = claimed(connection)
    history.add_lines(connection, task, [line(connection, task, 1)])
    assert end(connection, task)
    history.add_lines(connection, task, [line(connection, task, n) for n in (1, 2)])
    lines = history.lines_of(connection, task.id, attempt=None, skip=0, limit=9)
    assert [one.number for one in lines] == [1]


def test_the_last_lines_are_stored_with_the_outcome_and_again_with_one_that_came_twice(
    database: Database,
) -> None:
    with database.transaction() as connection:
        task = claimed(connection)
        last = [line(connection, task, 1), line(connection, task, 2)]
    assert settle(database, task, Completed("done"), Backoff(), last) is Settled.COMPLETED
    # As a worker does whose answer was lost.
    assert settle(database, task, Completed("done"), Backoff(), last) is Settled.LOST
    assert what_became_of(database, task) is Settled.COMPLETED
    with database.transaction() as connection:
        assert history.lines_of(connection, task.id, attempt=None, skip=0, limit=9) == last


def test_a_deletion_removes_all_of_a_task_and_nothing_of_another(connection: Connection) -> None:
    pair = [with_attempts(connection, 2) for _ in range(2)]
    for task in pair:
        history.add_lines(connection, task, [line(connection, task, 1)])
    gone, kept = (task.id for task in pair)
    before = everything(connection, kept)

    assert tasks.delete_task(connection, gone)

    assert everything(connection, gone) == []
    assert everything(connection, kept) == before


def test_how_an_attempt_ended_is_still_known_when_its_task_runs_again(
    database: Database,
) -> None:
    with database.transaction() as connection:
        lost, failed, cancelled = (claimed(connection) for _ in range(3))
        assert maintenance.rescue_from(connection, WORKER, 1)
        failed, cancelled = (
            claim_again(connection, tasks.run_again(connection, task.id) or task)
            for task in (failed, cancelled)
        )
        tasks.request_cancel(connection, cancelled.id)
    assert what_became_of(database, failed) is Settled.LOST
    settle(database, failed, Failed("broken", permanent=True), Backoff())
    settle(database, cancelled, Completed("too late"), Backoff())
    with database.transaction() as connection:
        for task in (lost, failed, cancelled):
            assert tasks.run_again(connection, task.id)
            # A wait that is cancelled is no attempt's end.
            assert tasks.cancel_waiting(connection, task.id)

    found = [what_became_of(database, task) for task in (lost, failed, cancelled)]
    assert found == [Settled.LOST, Settled.FAILED, Settled.CANCELLED]


# --- two at once


def one_waits_for_the_other(
    database: Database,
    first: Callable[[Connection], object],
    second: Callable[[Connection], object],
) -> object:
    """Begin the second before the first is committed; return what the second came to."""
    came_to: list[object] = []

    def beside() -> None:
        try:
            with database.transaction() as connection:
                came_to.append(second(connection))
        except Exception as error:
            came_to.append(error)

    def waits() -> bool:
        with database.transaction() as connection:
            return bool(connection.execute(waiting).scalar_one())

    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    thread = threading.Thread(target=beside)
    with database.transaction() as connection:
        first(connection)
        thread.start()
        wait_for(waits, 5, "the second waits for the first")
        assert came_to == []
    thread.join(5)
    (found,) = came_to
    return found


def heartbeat(connection: Connection, task: ClaimedTask) -> bool | None:
    """Renew a lease and store a line, as the lease's keeper does."""
    heard = attempts.renew(connection, task, 15, 0.5, None)
    history.add_lines(connection, task, [line(connection, task, 1)])
    return heard


def lines_alone(connection: Connection, task: ClaimedTask) -> None:
    """Store a line, as a settlement does before anything else."""
    history.add_lines(connection, task, [line(connection, task, 1)])


@pytest.mark.parametrize("write", [heartbeat, lines_alone])
def test_lines_of_a_task_that_is_being_deleted_are_dropped_without_an_error(
    database: Database, write: Callable[[Connection, Task], object]
) -> None:
    with database.transaction() as connection:
        task, neighbour = claimed(connection), claimed(connection)

    heard = one_waits_for_the_other(
        database, lambda c: tasks.delete_task(c, task.id), lambda c: write(c, task)
    )

    assert heard is None
    with database.transaction() as connection:
        assert everything(connection, task.id) == []
        assert attempts.renew(connection, neighbour, 15, 0.5, None) is False


def ending(connection: Connection, task: ClaimedTask) -> object:
    """End an attempt, which leaves a line in the timeline and a record of the attempt."""
    return attempts.complete(connection, task, "done")


@pytest.mark.parametrize("write", [heartbeat, lines_alone, ending])
def test_a_deletion_waits_for_what_is_being_stored_and_takes_it_along(
    database: Database, write: Callable[[Connection, Task], object]
) -> None:
    with database.transaction() as connection:
        task = claimed(connection)

    is_deleted = one_waits_for_the_other(
        database, lambda c: write(c, task), lambda c: tasks.delete_task(c, task.id)
    )

    assert is_deleted is True
    with database.transaction() as connection:
        assert everything(connection, task.id) == []
