"""Servers pulled out from under the running service: each test its own, so that none suffers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.priority import Priority
from app.local.valkey import EmbeddedValkey
from tests.lab import Lab, lab


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
