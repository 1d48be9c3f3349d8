"""Single processes of a worker's pool, killed at any moment: their tasks run again at once."""

import threading
import time
from collections import Counter

import pytest

from tests.faults.conftest import LONG
from tests.faults.evidence import chance, now, timeline, timelines, wait_until_final
from tests.faults.figures import figure
from tests.faults.processes import pool, process_of, runs
from tests.lab import Lab

# What the service promises.
AFTER_A_CHILD_SECONDS = 5.0
# From a handler's end to the record of it, on a machine that has much to do.
STORED_WITHIN_SECONDS = 1.0

pytestmark = pytest.mark.timeout(600 if LONG else 120)


def test_a_child_killed_while_nothing_else_happens_is_noticed_too(worker_lab: Lab) -> None:
    """Without the deaths of others, at each of which the pool looks after all its processes."""
    worker_lab.service.start_worker()
    neighbour = worker_lab.start("sleep", seconds=5)
    waits = []
    for _ in range(60 if LONG else 7):
        task_id = worker_lab.start("long_at_first", seconds=60)
        victim = process_of(worker_lab, task_id)
        died_at = now(worker_lab)
        victim.kill()
        row = wait_until_final(worker_lab, [task_id], 20)[task_id]
        assert (row.status, row.attempt, row.crashes) == ("COMPLETED", 2, 1)
        waits.append(timeline(worker_lab, task_id).the("claimed", 2).at - died_at)
    figure("lone child killed: its task runs again", max(waits))
    assert max(waits) < AFTER_A_CHILD_SECONDS
    done = worker_lab.service.wait_until(neighbour, "COMPLETED", "FAILED")
    assert (done["status"], done["attempt"]) == ("COMPLETED", 1)


def test_a_killed_child_costs_its_own_task_alone_a_few_seconds(worker_lab: Lab) -> None:
    random = chance("kills at random moments")
    worker_lab.service.settings["WORKER_CONCURRENCY"] = "6"
    main = worker_lab.service.start_worker()
    tasks: list[int] = []
    has_ended = threading.Event()

    def keep_busy() -> None:
        """Give the worker some tasks at a time, and leave it slots for those that run again."""
        while not has_ended.wait(0.02):
            if len(tasks) - worker_lab.ledger.count("finished") < 3:
                task_id = worker_lab.add("sleep", seconds=random.uniform(0, 1))
                tasks.append(task_id)
                worker_lab.publish(task_id)

    feeder = threading.Thread(target=keep_busy)
    feeder.start()
    # By process and not by task: what it runs when it dies is seen afterwards. When, by the
    # database's clock and by the ledger's.
    killed: dict[int, tuple[float, float]] = {}
    try:
        for number in range(80 if LONG else 8):
            has_ended.wait(random.uniform(0, 0.8))
            victim = random.choice(pool(main))
            if number % 2:
                # Every other time one that surely runs a task.
                task_id = worker_lab.start("long_at_first", seconds=60)
                tasks.append(task_id)
                victim = process_of(worker_lab, task_id)
            killed[victim.pid] = now(worker_lab), time.monotonic()
            victim.kill()
    finally:
        has_ended.set()
        feeder.join()

    ended = wait_until_final(worker_lab, tasks, 60)

    finished_at = {
        (entry.task_id, entry.attempt): entry.at
        for entry in worker_lab.ledger.entries()
        if entry.word == "finished"
    }
    # No attempt comes to its end twice.
    assert len(finished_at) == worker_lab.ledger.count("finished")
    losses, waits = Counter[int](), [0.0]
    for task_id, events in timelines(worker_lab).items():
        for event in events:
            if event.name not in {"rescued", "crash_limit_reached"}:
                continue
            losses[task_id] += 1
            claimed = events.the("claimed", event.attempt)
            died_at, last_moment = killed[int((claimed.detail or "").rpartition("/")[2])]
            # One that had come to its end was about to store it, and not on record as done.
            end = finished_at.pop((task_id, event.attempt), last_moment)
            assert last_moment - end < STORED_WITHIN_SECONDS
            again = event if event.status == "FAILED" else events.the("claimed", event.attempt + 1)
            waits.append(again.at - died_at)
    figure(f"child killed {len(killed)} times, {losses.total()} tasks hit: runs again", max(waits))
    assert losses.total() >= len(killed) // 2
    assert max(waits) < AFTER_A_CHILD_SECONDS

    for task_id in tasks:
        row = ended[task_id]
        assert (task_id, row.crashes) == (task_id, losses[task_id])
        if row.crashes == 3:
            assert row.status == "FAILED"
            assert "3 time(s)" in row.error_info
        else:
            assert (task_id, row.status, row.attempt) == (task_id, "COMPLETED", row.crashes + 1)
            assert finished_at.pop((task_id, row.attempt))
    # Nothing else has finished: no attempt beside those on record.
    assert finished_at == {}
    assert worker_lab.ledger.overlaps() == []
    assert runs(main)
