"""Redis forgets everything while many tasks wait: all run all the same, the most urgent first."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.priority import Priority
from app.services.lifecycle import maintenance
from tests.faults.conftest import LONG
from tests.faults.evidence import wait_until_final
from tests.faults.figures import figure
from tests.faults.servers import RedisPlug
from tests.lab import Lab
from tests.support import wait_for

WAITING = 10_000 if LONG else 1_000
TASKS = WAITING + 400
POSTING_CLIENTS = 4
SLOTS = 2
# What the service promises, in seconds.
FIRST_AFTER = 5.0

_URGENCY = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}


def flush(server: RedisPlug) -> None:
    server.wipe()


def come_back_empty(server: RedisPlug) -> None:
    server.kill()
    server.start_empty()


@pytest.mark.timeout(600)
def test_everything_in_redis_lost_costs_no_task_and_no_priority(
    broker_lab: Lab, redis_server: RedisPlug
) -> None:
    """Lost twice, in two ways; 1,000 or more wait each time, and the slots go on all the while."""
    service, ledger = broker_lab.service, broker_lab.ledger
    service.settings |= {"SIMULATED_WORK_SECONDS": "0", "WORKER_CONCURRENCY": str(SLOTS)}
    service.worker_app = "tests.faults.worker_app"
    priorities = post(broker_lab, TASKS)

    def all_wait() -> bool:
        # As a worker would, which comes later: the API leaves to it what Redis was slow to take.
        maintenance.dispatch_due(broker_lab.database, broker_lab.publisher)
        return redis_server.waiting() >= TASKS

    wait_for(all_wait, 60, "all wait in their queues")
    service.start_worker()

    lost_at: dict[str, float] = {}
    for begun, forget in ((50, flush), (TASKS - WAITING, come_back_empty)):
        wait_for(lambda begun=begun: ledger.count("started") >= begun, 60, f"{begun} have begun")
        forget(redis_server)
        lost_at[forget.__name__] = time.monotonic()
    wait_for(lambda: ledger.count("finished") >= TASKS, TASKS / 20, "all are done")

    starts = [entry for entry in ledger.entries() if entry.word == "started"]
    assert Counter(entry.task_id for entry in starts) == dict.fromkeys(priorities, 1)
    assert ledger.overlaps() == []
    for row in wait_until_final(broker_lab, priorities, 10).values():
        assert (row.status, row.attempt) == ("COMPLETED", 1)
    for name, moment in lost_at.items():
        # What the slots held by then is not what comes first.
        first = [entry.at - moment for entry in starts if entry.at > moment][SLOTS]
        figure(f"Redis empty ({name}), {WAITING} tasks waiting: the first runs", first)
        assert first < FIRST_AFTER
    # One that a slot has taken may begin a moment after what the other slot took next.
    ranks = [_URGENCY[priorities[e.task_id]] for e in starts if e.at > lost_at["flush"]]
    assert most_overtaken(ranks) < SLOTS


def post(lab: Lab, count: int) -> dict[int, Priority]:
    """Create tasks through the API, by several clients at once; return their priorities by id."""
    priorities: dict[int, Priority] = {}

    def work(seed: int) -> None:
        chance = random.Random(seed)
        with lab.service.client() as client:
            for _ in range(count // POSTING_CLIENTS):
                priority = chance.choice(list(Priority))
                answer = client.post("/tasks/", json={"title": "waits", "priority": priority})
                assert answer.status_code == 201, answer.text
                priorities[answer.json()["id"]] = priority

    with ThreadPoolExecutor(POSTING_CLIENTS) as pool:
        list(pool.map(work, range(POSTING_CLIENTS)))
    assert len(priorities) == count
    return priorities


def most_overtaken(ranks: list[int]) -> int:
    """Return how many more urgent tasks, at the worst start, had yet to start."""
    to_come = Counter(ranks)
    worst = 0
    for rank in ranks:
        to_come[rank] -= 1
        worst = max(worst, sum(to_come[urgent] for urgent in range(rank)))
    return worst
