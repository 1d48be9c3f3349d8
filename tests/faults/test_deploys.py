"""Workers told to stop (SIGTERM), as a deploy does: short tasks finish, long ones run elsewhere."""

import time

import pytest

from app.settings import Settings
from tests.faults.conftest import LONG
from tests.faults.evidence import now, rows, timeline, wait_until_final
from tests.faults.figures import figure
from tests.faults.processes import pool, wait_until_gone
from tests.lab import Lab
from tests.support import wait_for

GRACE_SECONDS: float = Settings.model_fields["soft_shutdown_seconds"].default if LONG else 3.0
# What the service promises: from a task's release to its next start.
ELSEWHERE_SECONDS = 2.0
# Neither Celery's shutdown nor the statement that hands a task back is free, nor is it all that
# the machine does.
OVERHEAD_SECONDS = 1.5

pytestmark = pytest.mark.timeout(900 if LONG else 120)


def test_a_deploy_costs_short_tasks_nothing_and_moves_long_ones(worker_lab: Lab) -> None:
    """Each worker in turn is replaced, while its slots are all busy."""
    service = worker_lab.service
    service.settings |= {"WORKER_CONCURRENCY": "3", "SOFT_SHUTDOWN_SECONDS": str(GRACE_SECONDS)}
    service.start_worker("worker0")
    for number in range(8 if LONG else 1):
        leaving, staying = f"worker{number}", f"worker{number + 1}"
        # It stays full until the other one is ready, so that each gets its own.
        short = [
            worker_lab.start("waits_for_word", seconds=seconds)
            for seconds in (0, GRACE_SECONDS / 2)
        ]
        long = worker_lab.start("long_at_first", seconds=60)
        main = service.start_worker(staying)
        neighbour = worker_lab.start("sleep", seconds=GRACE_SECONDS + 2)
        processes = pool(main)
        assert service.read(long)["worker"].startswith(f"{leaving}@")
        assert service.read(neighbour)["worker"].startswith(f"{staying}@")

        asked_at, asked_by_database = time.monotonic(), now(worker_lab)
        service.processes[leaving].terminate()
        worker_lab.ledger.give_word()
        # It takes nothing more; what comes now is the other one's.
        new = worker_lab.add("sleep")
        ended = wait_until_final(worker_lab, [*short, long, new], GRACE_SECONDS + 8)
        exit_code = service.processes.pop(leaving).wait(GRACE_SECONDS + 5)
        figure("worker told to stop has ended", time.monotonic() - asked_at)

        assert exit_code == 0
        for task_id in short:
            assert (ended[task_id].status, ended[task_id].attempt) == ("COMPLETED", 1)
            assert worker_lab.ledger.words(task_id) == ["1 started", "1 finished"]
        assert (ended[new].attempt, ended[new].worker.split("@")[0]) == (1, staying)

        assert (ended[long].status, ended[long].attempt) == ("COMPLETED", 2)
        assert (ended[long].crashes, ended[long].worker.split("@")[0]) == (0, staying)
        assert worker_lab.ledger.words(long) == ["1 started", "2 started", "2 finished"]
        events = timeline(worker_lab, long)
        released, again = events.the("released"), events.the("claimed", 2)
        figure("long task is back in its queue", released.at - asked_by_database)
        figure("long task runs elsewhere", again.at - released.at)
        assert released.at - asked_by_database < GRACE_SECONDS + OVERHEAD_SECONDS
        assert again.at - released.at < ELSEWHERE_SECONDS

        done = service.wait_until(neighbour, "COMPLETED", "FAILED")
        assert (done["status"], done["attempt"]) == ("COMPLETED", 1)
        assert pool(main) == processes
        worker_lab.ledger.take_word_back()
    assert worker_lab.ledger.overlaps() == []


def test_the_last_worker_told_to_stop_leaves_its_task_in_the_queue(worker_lab: Lab) -> None:
    service = worker_lab.service
    service.settings["SOFT_SHUTDOWN_SECONDS"] = str(GRACE_SECONDS)
    processes = pool(service.start_worker("first"))
    long = worker_lab.start("long_at_first", seconds=60)
    waiting = worker_lab.add("sleep")

    assert service.stop("first", GRACE_SECONDS + 5) == 0

    wait_until_gone(processes, 0.5)
    # Handed back, not left to be rescued when its lease has lapsed.
    assert rows(worker_lab)[long].status == "PENDING"
    assert timeline(worker_lab, long)[-1].name in {"released", "dispatched"}
    started_at = time.monotonic()
    service.start_worker("second")
    wait_for(
        lambda: "2 started" in worker_lab.ledger.words(long), 5, "the task runs on the new worker"
    )
    figure("handed-back task runs on a worker started later", time.monotonic() - started_at)
    for row in wait_until_final(worker_lab, [long, waiting], 10).values():
        assert (row.status, row.crashes) == ("COMPLETED", 0)
