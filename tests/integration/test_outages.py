"""Servers pulled out from under the running service: each test its own, so that none suffers."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.priority import Priority
from app.local.postgres import EmbeddedPostgres
from app.local.valkey import EmbeddedValkey
from tests.lab import Lab, lab
from tests.servers import migrate
from tests.support import wait_for


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "valkey", durable=False) as server:
        yield server


@pytest.fixture
def broken_lab(database_url: str, broker: EmbeddedValkey, tmp_path: Path) -> Iterator[Lab]:
    with lab(database_url, broker.url(0), tmp_path) as own:
        yield own


def test_strict_priority_between_waiting_tasks(broken_lab: Lab) -> None:
    broken_lab.service.settings["WORKER_CONCURRENCY"] = "1"
    tasks = [
        broken_lab.add("sleep", priority=priority, seconds=0.05)
        for priority in (Priority.LOW, Priority.MEDIUM, Priority.HIGH) * 3
    ]
    for task_id in tasks:
        broken_lab.publish(task_id)

    broken_lab.service.start_worker()
    for task_id in tasks:
        broken_lab.service.wait_until(task_id, "COMPLETED")

    by_urgency = [tasks[i] for first in (2, 1, 0) for i in range(first, len(tasks), 3)]
    assert broken_lab.ledger.started() == by_urgency


def test_everything_in_redis_lost_loses_no_task(broken_lab: Lab, broker: EmbeddedValkey) -> None:
    waiting = [broken_lab.add("sleep", priority=priority) for priority in Priority for _ in "123"]
    for task_id in waiting:
        broken_lab.publish(task_id)
    broken_lab.service.start_worker()
    broken_lab.start("sleep", seconds=1)

    broken_lab.publisher._celery.connection().default_channel.client.flushall()

    for task_id in waiting:
        done = broken_lab.service.wait_until(task_id, "COMPLETED", "FAILED", seconds=15)
        assert (done["status"], done["attempt"]) == ("COMPLETED", 1)


def test_postgresql_away_is_answered_with_503_and_survived(redis_url: str, tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres") as server:
        migrate(server.url())
        with lab(server.url(), redis_url, tmp_path, DATABASE_TIMEOUT_SECONDS="2") as own:
            own.service.start_worker()
            running = own.start("sleep", seconds=3)
            server.kill()

            with own.service.client() as client:
                asked_at = time.monotonic()
                answers = [
                    client.get(f"/tasks/{running}"),
                    client.post("/tasks/", json={"title": "x"}),
                ]
                assert time.monotonic() - asked_at < 5
                for answer in answers:
                    assert answer.status_code == 503
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert int(answer.headers["retry-after"]) > 0
                assert client.get("/health").status_code == 503
                assert client.get("/health/live").status_code == 200

            server.start()
            wait_for(lambda: own.service._answers("/health"), 15, "healthy again")
            done = own.service.wait_until(running, "COMPLETED", "FAILED", seconds=30)
            assert done["status"] == "COMPLETED"
            after = own.add("sleep")
            assert own.service.wait_until(after, "COMPLETED", "FAILED")["status"] == "COMPLETED"
