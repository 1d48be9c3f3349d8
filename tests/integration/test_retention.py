"""What is deleted when its time is over: ended tasks that are old enough, and nothing else."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from app.broker.celery import create_celery
from app.broker.publisher import Publisher
from app.db import attempts, history, retention, tasks
from app.db.engine import Connection, Database
from app.domain.history import LogLine
from app.domain.status import FINAL, Status
from app.errors import DatabaseUnavailable
from app.services.lifecycle import retention as pace
from app.services.lifecycle.retention import Retention
from app.settings import Settings
from app.worker import liveness
from app.worker import maintenance as worker_maintenance
from tests.integration.rows import BROKEN, claimed, create, everything, now, put_in
from tests.support import wait_for

DAY = 86_400


def ended(connection: Connection, status: Status, days: float) -> int:
    """Return the id of a task that ended so many days ago."""
    task = put_in(connection, status)
    connection.execute(
        text("UPDATE tasks SET completed_at = now() - make_interval(secs => :s) WHERE id = :id"),
        {"s": days * DAY, "id": task.id},
    )
    return task.id


def logged(connection: Connection) -> int:
    """Return the id of a task that has ended just now and has logged a line."""
    task = claimed(connection)
    history.add_lines(connection, task, [LogLine(1, 1, now(connection), "INFO", "a line")])
    attempts.fail(connection, task, BROKEN)
    return task.id


def many_ended(database: Database, count: int, days: float) -> None:
    with database.transaction() as connection:
        connection.execute(
            text(
                "INSERT INTO tasks (title, priority, status, type, queue, completed_at)"
                " SELECT 'old', 'LOW', 'CANCELLED', 'any', 'low',"
                " now() - make_interval(secs => :s) FROM generate_series(1, :count)"
            ),
            {"s": days * DAY, "count": count},
        )


def left(database: Database) -> int:
    with database.transaction() as connection:
        return int(connection.execute(text("SELECT count(*) FROM tasks")).scalar_one())


def daily(settings: Settings) -> Retention:
    return Retention(settings.model_copy(update={"retention_days": 1.0}))


def test_only_what_ended_long_enough_ago_goes_and_its_history_goes_too(
    connection: Connection,
) -> None:
    old = [ended(connection, status, 2) for status in sorted(FINAL)]
    old.append(logged(connection))
    connection.execute(text("UPDATE tasks SET completed_at = completed_at - interval '2 d'"))
    young = [ended(connection, status, 0.9) for status in sorted(FINAL)]
    young.append(logged(connection))
    unfinished = [put_in(connection, status).id for status in Status if status not in FINAL]
    # As old as anything, but at work.
    connection.execute(text("UPDATE tasks SET created_at = now() - interval '9 d'"))
    staying = [*young, *unfinished]
    before = everything(connection, *staying)
    assert any("a line" in str(row) for row in everything(connection, *old))

    assert retention.delete_ended(connection, DAY, 100) == len(old)

    assert everything(connection, *old) == []
    assert everything(connection, *staying) == before


def test_the_oldest_go_first_and_no_more_than_asked_for(connection: Connection) -> None:
    by_age = [ended(connection, Status.CANCELLED, days) for days in (5, 3, 4, 2)]
    assert retention.delete_ended(connection, DAY, 2) == 2
    assert [bool(everything(connection, each)) for each in by_age] == [False, True, False, True]


def test_a_task_that_is_being_run_again_is_left_and_nobody_waits_for_it(
    database: Database,
) -> None:
    with database.transaction() as connection:
        wanted, other = (ended(connection, Status.FAILED, 2) for _ in "12")
    with database.transaction() as person:
        assert tasks.run_again(person, wanted)
        with database.transaction() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            assert retention.delete_ended(connection, DAY, 100) == 1
    with database.transaction() as connection:
        assert retention.delete_ended(connection, DAY, 100) == 0
        assert everything(connection, other) == []
        again = tasks.get(connection, wanted)
    assert again is not None
    assert again.status is Status.PENDING


def test_a_person_who_comes_too_late_finds_no_task(database: Database) -> None:
    with database.transaction() as connection:
        task_id = ended(connection, Status.FAILED, 2)
    found: list[object] = []

    def run_again() -> None:
        with database.transaction() as person:
            found.append(tasks.run_again(person, task_id))

    thread = threading.Thread(target=run_again)
    with database.transaction() as connection:
        assert retention.delete_ended(connection, DAY, 100) == 1
        thread.start()
        wait_for(lambda: waiting(database), 5, "the person waits for the row")
    thread.join(5)
    assert found == [None]


def waiting(database: Database) -> bool:
    with database.transaction() as connection:
        return bool(connection.execute(text("SELECT 1 FROM pg_locks WHERE NOT granted")).first())


def test_many_at_once_delete_each_task_once(database: Database) -> None:
    many_ended(database, 300, 2)
    many_ended(database, 5, 0.5)
    counts: list[int] = []

    def run() -> None:
        while True:
            with database.statement() as connection:
                deleted = retention.delete_ended(connection, DAY, 7)
            counts.append(deleted)
            if not deleted:
                return

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(counts) == 300
    assert max(counts) == 7
    assert left(database) == 5


def test_switched_off_it_says_nothing_to_the_database(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"database_url": "postgresql+psycopg2://a@127.0.0.1:1/a"})
    database = Database(nowhere, pool_size=1, application_name="test")
    assert settings.retention_days == 0
    Retention(settings).step(database)
    with pytest.raises(DatabaseUnavailable):
        daily(settings).step(database)


def test_a_round_has_its_share_and_when_nothing_is_due_there_is_a_pause(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_PER_ROUND", 10)
    monkeypatch.setattr(pace, "_BATCH", 4)
    # However slow the machine is.
    monkeypatch.setattr(pace, "_STEP_SECONDS", 60)
    many_ended(database, 25, 2)
    keeper = daily(settings)
    rest = []
    for _ in range(3):
        keeper.step(database)
        rest.append(left(database))
    assert rest == [15, 5, 0]

    many_ended(database, 1, 2)
    keeper.step(database)
    assert left(database) == 1
    # Nor does a round go on when its time is over.
    monkeypatch.setattr(pace, "_STEP_SECONDS", 0)
    hasty = daily(settings)
    hasty.step(database)
    assert left(database) == 1


def test_batches_that_take_long_become_smaller_and_grow_again(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    answers = iter([None, "slow", "slow", None, "away", None, None])

    def delete_ended(connection: Connection, age_seconds: float, limit: int) -> int:
        asked.append(limit)
        answer = next(answers)
        monkeypatch.setattr(pace, "_BATCH_SECONDS", -1 if answer == "slow" else 60)
        if answer == "away":
            raise DatabaseUnavailable("canceling statement due to statement timeout")
        return limit

    monkeypatch.setattr(pace.store, "delete_ended", delete_ended)
    monkeypatch.setattr(pace, "_STEP_SECONDS", 60)
    keeper = daily(settings)
    with pytest.raises(DatabaseUnavailable):
        keeper.step(database)
    with pytest.raises(StopIteration):
        keeper.step(database)
    assert asked == [200, 200, 100, 50, 100, 1, 2, 4]


def test_a_worker_s_rounds_delete_what_is_due(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with database.transaction() as connection:
        gone, young = ended(connection, Status.FAILED, 2), ended(connection, Status.FAILED, 0.5)
        waits = create(connection).id
    daily_settings = settings.model_copy(update={"retention_days": 1.0})
    monkeypatch.setattr(worker_maintenance, "get_settings", lambda: daily_settings)
    monkeypatch.setattr(liveness, "_FILE", tmp_path / "alive")
    publisher = Publisher(create_celery(settings, publisher_only=True))
    fit: Any = SimpleNamespace(complaint="")
    thread = worker_maintenance.MaintenanceThread("one@test", 1, publisher, fit)
    thread.start()
    try:
        wait_for(lambda: left(database) == 2, 10, "the old one is gone")
    finally:
        thread.stop(5)
    with database.transaction() as connection:
        assert everything(connection, gone) == []
        assert tasks.get(connection, young)
        assert tasks.get(connection, waits)
