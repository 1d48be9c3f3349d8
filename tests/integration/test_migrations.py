"""The schema's way from 0002 to the newest and back, with rows in it and the service at work."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
import pytest

from app.db import attempts, creation, history, tasks
from app.db.engine import Database
from app.domain.history import LogLine
from app.domain.priority import Priority, QueueName
from app.domain.retry import Backoff
from app.domain.status import FINAL, UNFINISHED
from app.domain.task import NewTask
from app.settings import Settings
from tests.servers import ROOT, Postgres
from tests.service import Service
from tests.support import wait_for

pytestmark = pytest.mark.timeout(180)

# Of alembic/env.py, which cannot be imported.
ADVISORY_LOCK = 7_305_021_946

# Where the tasks of a live service of the version before can stand, but for the texts.
OF_0002 = """
INSERT INTO tasks (title, priority, status, type, payload, queue, attempt, max_attempts, failures,
                   crashes, run_at, dispatched_at, started_at, completed_at, lease_expires_at,
                   worker, cancel_requested_at, result, error_info)
VALUES
('new', 'HIGH', 'NEW', 'simulated_work', '{}', 'high', 0, 1, 0,
 0, now(), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
('dispatched, its message lost', 'LOW', 'PENDING', 'simulated_work', '{}', 'low', 0, 1, 0,
 0, now() - interval '1 min', now() - interval '1 min', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
('raised', 'LOW', 'PENDING', 'simulated_work', '{}', 'overdue', 0, 1, 0,
 0, now() - interval '9 min', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
('waits for its second attempt', 'MEDIUM', 'PENDING', 'retry', '{"retry_count": 1}', 'medium', 1,
 2, 1, 0, now() + interval '1 s', NULL, now(), NULL, NULL, 'old@test/1', NULL, NULL, 'broken'),
('runs, and its worker is gone', 'MEDIUM', 'IN_PROGRESS', 'simulated_work', '{}', 'medium', 1, 1, 0,
 0, now(), now(), now(), NULL, now() - interval '1 s', 'old@test/2', NULL, NULL, NULL),
('is being cancelled', 'MEDIUM', 'IN_PROGRESS', 'simulated_work', '{}', 'medium', 1, 1, 0,
 0, now(), now(), now(), NULL, now() - interval '1 s', 'old@test/3', now(), NULL, NULL),
('completed', 'MEDIUM', 'COMPLETED', 'simulated_work', '{}', 'medium', 1, 1, 0,
 0, now(), now(), now(), now(), NULL, 'old@test/1', NULL, '"done"', NULL),
('failed', 'MEDIUM', 'FAILED', 'broken', '{"force_error": true}', 'medium', 1, 1, 1,
 0, now(), now(), now(), now(), NULL, 'old@test/1', NULL, NULL, 'RuntimeError: on purpose'),
('cancelled', 'MEDIUM', 'CANCELLED', 'simulated_work', '{}', 'medium', 0, 1, 0,
 0, now(), now(), NULL, now(), NULL, NULL, now(), NULL, NULL);
INSERT INTO task_events (task_id, event, status, attempt) SELECT id, 'created', 'NEW', 0 FROM tasks
"""
ENDS = {
    "new": "COMPLETED",
    "dispatched, its message lost": "COMPLETED",
    "raised": "COMPLETED",
    "waits for its second attempt": "COMPLETED",
    "runs, and its worker is gone": "COMPLETED",
    "is being cancelled": "CANCELLED",
    "completed": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}


@dataclass
class Migrated:
    """A database that goes from revision to revision."""

    url: str

    def alembic(self, *command: str) -> None:
        """Run a command of Alembic's as people do."""
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *command],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": self.url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def connect(self) -> Any:
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        return connection

    def ask(self, sql: str) -> list[dict[str, Any]]:
        """Return a query's rows, or none for what is no query."""
        connection = self.connect()
        try:
            cursor = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
            cursor.execute(sql)
            return list(cursor) if cursor.description else []
        finally:
            connection.close()

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return every task by its title."""
        return {row["title"]: row for row in self.ask("SELECT * FROM tasks ORDER BY id")}


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Migrated]:
    with postgres.database(migrated=False) as url:
        yield Migrated(url)


@pytest.fixture
def store(database: Migrated) -> Iterator[Database]:
    """The stores' way to the same database."""
    settings = Settings(database_url=database.url, _env_file=None)
    store = Database(settings, pool_size=2, application_name="test")
    yield store
    store.close()


@dataclass
class Traffic:
    """A service of the version before: tasks come, run, end and go all the time."""

    database: Migrated
    rounds: int = 0
    longest: float = 0.0
    errors: list[Exception] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    # What it says in one round, about one task after another.
    _STATEMENTS = (
        "INSERT INTO tasks (title, priority, type, queue) VALUES"
        " ('passing', 'MEDIUM', 'simulated_work', 'medium'),"
        " ('staying ' || %(round)s, 'MEDIUM', 'simulated_work', 'medium')",
        "WITH moved AS (UPDATE tasks SET status = 'IN_PROGRESS', attempt = 1, started_at = now(),"
        " worker = 'old@test/9', lease_expires_at = now() + interval '1 h'"
        " WHERE title = 'passing' RETURNING id)"
        " INSERT INTO task_events (task_id, event, status, attempt)"
        " SELECT id, 'claimed', 'IN_PROGRESS', 1 FROM moved",
        "UPDATE tasks SET status = 'COMPLETED', completed_at = now(), lease_expires_at = NULL"
        " WHERE title = 'passing'",
        "DELETE FROM tasks WHERE title = 'passing'",
    )

    def __enter__(self) -> "Traffic":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.goes_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)

    def goes_on(self) -> None:
        """Wait until it has done some more."""
        done = self.rounds
        wait_for(lambda: self.errors or self.rounds > done + 20, 10, "the traffic goes on")

    def _run(self) -> None:
        connection = self.database.connect()
        try:
            while not self._stopping.wait(0.002):
                for statement in self._STATEMENTS:
                    began_at = time.monotonic()
                    connection.cursor().execute(statement, {"round": self.rounds})
                    self.longest = max(self.longest, time.monotonic() - began_at)
                self.rounds += 1
        except Exception as error:
            self.errors.append(error)
        finally:
            connection.close()


def test_an_upgrade_beside_a_live_service_keeps_every_task_and_each_runs_to_its_end(
    database: Migrated, redis_url: str, tmp_path: Path
) -> None:
    database.alembic("upgrade", "0002")
    database.ask(OF_0002)
    before = database.rows()
    assert {row["status"] for row in before.values()} == FINAL | UNFINISHED

    with Traffic(database) as traffic:
        database.alembic("upgrade", "head")
        # Instances of the version before go on for a while.
        traffic.goes_on()

    assert traffic.errors == []
    # Far less than a client would wait, though every lock was waited for.
    assert traffic.longest < 2
    after = database.rows()
    assert {title: {name: after[title][name] for name in row} for title, row in before.items()} == (
        before
    )
    stayed = sum(title.startswith("staying") for title in after)
    assert stayed == traffic.rounds
    # One worker has enough to do with the others.
    database.ask("DELETE FROM tasks WHERE title LIKE 'staying %' AND title <> 'staying 0'")

    service = Service(database.url, redis_url, tmp_path, {"SIMULATED_WORK_SECONDS": "0.05"})
    try:
        service.start_worker()
        wait_for(
            lambda: all(row["status"] in FINAL for row in database.rows().values()),
            30,
            "every task has ended",
        )
    finally:
        service.close()
    ended = database.rows()
    assert {title: row["status"] for title, row in ended.items()} == {
        **ENDS,
        "staying 0": "COMPLETED",
    }
    for title in ("completed", "failed", "cancelled"):
        assert {name: ended[title][name] for name in before[title]} == before[title]
    # What ended before has no attempts on record, what ended since has one each.
    recorded = database.ask(
        "SELECT t.title, json_agg(json_build_array(a.number, a.outcome) ORDER BY a.number) AS made"
        " FROM tasks t JOIN task_attempts a ON a.task_id = t.id GROUP BY t.title"
    )
    assert {row["title"]: row["made"] for row in recorded} == {
        "new": [[1, "COMPLETED"]],
        "dispatched, its message lost": [[1, "COMPLETED"]],
        "raised": [[1, "COMPLETED"]],
        "waits for its second attempt": [[2, "COMPLETED"]],
        "runs, and its worker is gone": [[1, "LOST"], [2, "COMPLETED"]],
        "is being cancelled": [[1, "CANCELLED"]],
        "staying 0": [[1, "COMPLETED"]],
    }


def test_a_downgrade_keeps_every_task_and_can_be_undone(
    database: Migrated, store: Database
) -> None:
    database.alembic("upgrade", "head")
    with store.transaction() as connection:
        later = NewTask("later", None, Priority.LOW, "simulated_work", {}, 3, delay_seconds=3600)
        own = NewTask("own", None, Priority.LOW, "simulated_work", {}, 3, Backoff(2), 5.0)
        creation.insert_task(connection, later)
        task = creation.insert_task(connection, own)
        running = claim(connection, task.id)
        history.add_lines(connection, running, [LogLine(1, 1, task.created_at, "INFO", "a line")])
        attempts.fail(connection, running, attempts.Failure("broken"))
        tasks.run_again(connection, task.id)
    store.close()
    at_head = database.rows()
    events = database.ask("SELECT * FROM task_events ORDER BY id")

    database.alembic("downgrade", "0002")

    new = {"backoff", "timeout_seconds", "set_aside_at"}
    assert database.rows() == {
        title: {name: value for name, value in row.items() if name not in new}
        for title, row in at_head.items()
    }
    assert database.ask("SELECT * FROM task_events ORDER BY id") == events

    database.alembic("upgrade", "head")
    # It is what the code expects, as after the first time.
    database.alembic("check")

    with store.transaction() as connection:
        second = claim(connection, task.id)
        assert (second.attempt, second.backoff) == (2, None)
        assert attempts.complete(connection, second, "done")
        made = history.attempts_of(connection, task.id, skip=0, limit=10)
        assert [attempt.number for attempt in made] == [2]


@pytest.mark.parametrize(
    ("before", "broken_off", "constraint"),
    [
        ("0002", "0003", "ck_tasks_timeout_positive"),
        ("0007", "0008", "ck_tasks_valid"),
    ],
)
def test_an_upgrade_that_was_broken_off_is_finished_by_the_next_one(
    database: Migrated, before: str, broken_off: str, constraint: str
) -> None:
    database.alembic("upgrade", broken_off)
    of_it = f"FROM pg_constraint WHERE conname = '{constraint}'"
    (found,) = database.ask(f"SELECT pg_get_constraintdef(oid) AS rule {of_it}")
    # As its process leaves it that ends before the constraint is found to hold.
    database.ask(
        f"UPDATE alembic_version SET version_num = '{before}';"
        f" ALTER TABLE tasks DROP CONSTRAINT {constraint},"
        f" ADD CONSTRAINT {constraint} {found['rule']} NOT VALID"
    )

    database.alembic("upgrade", broken_off)

    (found,) = database.ask(
        f"SELECT convalidated FROM pg_constraint WHERE conname = '{constraint}'"
    )
    assert found["convalidated"]
    database.alembic("upgrade", "head")
    database.alembic("check")


def test_who_waits_for_its_turn_keeps_no_index_from_being_built(database: Migrated) -> None:
    """As of several containers that start at once: an index CONCURRENTLY waits for snapshots."""
    with closing(database.connect()) as first:
        cursor = first.cursor()
        cursor.execute("CREATE TABLE large (id int)")
        cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        environment = {**os.environ, "DATABASE_URL": database.url}
        with subprocess.Popen(command, cwd=ROOT, env=environment) as second:
            asks = (
                "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
                " AND query LIKE ANY ('{%advisory_lock%,COMMIT}')"
                f" AND pid <> {first.info.backend_pid} AND pid <> pg_backend_pid()"
            )
            wait_for(lambda: database.ask(asks), 20, "the other one asks for its turn")
            cursor.execute("SET statement_timeout = '10s'")
            cursor.execute("CREATE INDEX CONCURRENTLY ON large (id)")
            assert second.poll() is None
            cursor.execute("SELECT pg_advisory_unlock(%s)", [ADVISORY_LOCK])
            assert second.wait(60) == 0
        cursor.execute("DROP TABLE large")
    database.alembic("check")


def claim(connection: Any, task_id: int) -> Any:
    queue, types = QueueName.LOW, ["simulated_work"]
    task = attempts.claim(connection, task_id, queue, "worker@test/1", 15, types)
    assert task is not None
    return task
