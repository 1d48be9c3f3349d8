"""Messages doubled, obsolete and malformed: each task runs once, and the worker goes on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
import redis

from app.domain.priority import Priority
from tests import servers
from tests.faults.conftest import LONG, own_lab
from tests.faults.evidence import cancel, rows, timelines, wait_until_final
from tests.faults.malformed import malformed
from tests.faults.processes import pool
from tests.lab import Lab
from tests.support import wait_for

SLOTS = 2


@pytest.fixture(scope="module")
def messages_lab(
    postgres: servers.Postgres, valkey: servers.Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """A lab with one worker, which must live through everything here."""
    with (
        postgres.database() as database_url,
        valkey.database() as redis_url,
        own_lab(database_url, redis_url, tmp_path_factory.mktemp("messages")) as own,
    ):
        own.service.start_worker()
        yield own


@pytest.fixture
def queues(messages_lab: Lab) -> Iterator["redis.Redis[bytes]"]:
    with redis.Redis.from_url(messages_lab.service.redis_url, socket_timeout=5) as client:
        yield client


@pytest.fixture(autouse=True)
def the_worker_goes_on(messages_lab: Lab) -> Iterator[None]:
    """Hold every test here to it: the same processes are there afterwards, and all slots work."""
    worker = psutil.Process(messages_lab.service.processes["worker"].pid)
    processes = [worker, *pool(worker)]
    yield
    assert [worker, *pool(worker)] == processes
    after = [messages_lab.start("sleep", seconds=0.5) for _ in range(SLOTS)]
    for task_id in after:
        done = messages_lab.service.wait_until(task_id, "COMPLETED", "FAILED", seconds=10)
        assert (done["status"], done["attempt"]) == ("COMPLETED", 1)
        assert messages_lab.ledger.words(task_id) == ["1 started", "1 finished"]


@contextmanager
def in_line(lab: Lab, queues: "redis.Redis[bytes]", count: int) -> Iterator[list[int]]:
    """Fill every slot while the block lasts, with so many tasks of all priorities behind them."""
    running = [lab.start("waits_for_word") for _ in range(SLOTS)]
    priorities = [priority for priority in Priority for _ in range(count // len(Priority))]
    tasks = []
    for priority in priorities:
        tasks.append(lab.add("sleep", priority=priority))
        # At once: a second later somebody else would.
        lab.dispatch(tasks[-1:])
    assert sum(queues.llen(queue) for queue in ("high", "medium", "low")) == len(tasks)
    yield tasks
    lab.ledger.give_word()
    for task_id in running:
        lab.service.wait_until(task_id, "COMPLETED")
    lab.ledger.take_word_back()


def nothing_to_run(lab: Lab, task_id: int) -> int:
    """Return how often the worker said that a message of a task is obsolete."""
    words = rf"INFO .*: task {task_id}: nothing to run for its message in queue \w+$"
    return len(re.findall(words, lab.service.log("worker"), re.MULTILINE))


@pytest.mark.parametrize("place", ["beside its message", "behind all others"])
def test_every_message_doubled_runs_no_task_twice(
    messages_lab: Lab, queues: "redis.Redis[bytes]", place: str
) -> None:
    with in_line(messages_lab, queues, 600 if LONG else 60) as tasks:
        for queue in ("high", "medium", "low"):
            waiting = queues.lrange(queue, 0, -1)
            if place == "beside its message":
                # The two slots take both at the same moment.
                for message in waiting:
                    queues.linsert(queue, "BEFORE", message, message)
            else:
                # The oldest is at the right end, new ones come from the left.
                queues.lpush(queue, *reversed(waiting))
            assert queues.llen(queue) == 2 * len(waiting)

    ended = wait_until_final(messages_lab, tasks, 60)
    for task_id in tasks:
        assert (ended[task_id].status, ended[task_id].attempt) == ("COMPLETED", 1)
    names = timelines(messages_lab)
    for task_id in tasks:
        wait_for(lambda task_id=task_id: nothing_to_run(messages_lab, task_id), 10, "it is said")
        assert nothing_to_run(messages_lab, task_id) == 1
        assert messages_lab.ledger.words(task_id) == ["1 started", "1 finished"]
        assert names[task_id].names().count("claimed") == 1


def test_messages_of_tasks_that_are_over_change_nothing(
    messages_lab: Lab, queues: "redis.Redis[bytes]"
) -> None:
    finished = messages_lab.start("sleep")
    failed = messages_lab.start("exits")
    before = {
        task_id: messages_lab.service.wait_until(task_id, "COMPLETED", "FAILED")
        for task_id in (finished, failed)
    }
    with in_line(messages_lab, queues, 3) as tasks:
        deleted, cancelled, neighbour = tasks
        for task_id in (finished, failed):
            messages_lab.publish(task_id)
        with messages_lab.service.client() as client:
            assert client.delete(f"/tasks/{deleted}").status_code == 204
        assert cancel(messages_lab, cancelled) == 200
        before[cancelled] = messages_lab.service.read(cancelled)

    over = [deleted, cancelled, finished, failed]
    for task_id in over:
        wait_for(lambda task_id=task_id: nothing_to_run(messages_lab, task_id), 10, "it is said")
        assert nothing_to_run(messages_lab, task_id) == 1
    assert messages_lab.service.wait_until(neighbour, "COMPLETED")["attempt"] == 1
    for task_id, task in before.items():
        assert messages_lab.service.read(task_id) == task
    assert messages_lab.ledger.words(finished) == ["1 started", "1 finished"]
    assert messages_lab.ledger.words(failed) == ["1 started"]
    assert not any(map(messages_lab.ledger.words, tasks[:2]))
    assert deleted not in rows(messages_lab)


def test_malformed_messages_are_dropped_each_with_a_line_and_harm_nobody(
    messages_lab: Lab, queues: "redis.Redis[bytes]"
) -> None:
    finished = messages_lab.start("sleep")
    messages_lab.service.wait_until(finished, "COMPLETED")
    with in_line(messages_lab, queues, 3):
        messages_lab.publish(finished)
        good = queues.lpop("medium")
    assert good is not None
    neighbour = messages_lab.start("waits_for_word")
    before = messages_lab.service.read(finished)

    said = {
        name: said_about(messages_lab, queues, message, finished)
        for name, message in malformed(good).items()
    }

    assert {name: lines for name, lines in said.items() if len(lines) != 1} == {}
    assert messages_lab.ledger.words(neighbour) == ["1 started"]
    messages_lab.ledger.give_word()
    assert messages_lab.service.wait_until(neighbour, "COMPLETED")["attempt"] == 1
    messages_lab.ledger.take_word_back()
    assert messages_lab.ledger.words(neighbour) == ["1 started", "1 finished"]
    assert messages_lab.service.read(finished) == before
    assert messages_lab.ledger.words(finished) == ["1 started", "1 finished"]


def said_about(
    lab: Lab, queues: "redis.Redis[bytes]", message: str | bytes, obsolete: int
) -> list[str]:
    """Send a message and return what the worker says of it beside its everyday lines.

    Behind it goes a message of a task that is over. What is said of that one ends the wait.
    """
    seen, count = len(lab.service.log("worker")), nothing_to_run(lab, obsolete)
    queues.lpush("high", message)
    lab.publish(obsolete)
    wait_for(
        lambda: nothing_to_run(lab, obsolete) > count, 10, f"what comes after {message[:99]!r}"
    )
    new = lab.service.log("worker")[seen:]
    return [line for line in new.splitlines() if not re.match(r"\S+ (INFO|DEBUG) ", line)]
