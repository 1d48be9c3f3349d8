"""Workers killed and frozen under their tasks: what comes of it once their leases have lapsed.

What they ran runs again in bounded time and once at a time, what others ran is not touched, and a
task that kills its worker each time ends.
"""

import re

from tests.faults.conftest import LEASE_SECONDS
from tests.faults.evidence import lease_end, now, timeline, wait_until_final
from tests.faults.figures import figure
from tests.faults.processes import frozen, kill_main_only, pool, runs, wait_until_gone
from tests.lab import Lab
from tests.support import wait_for

# What the service promises.
AFTER_A_LEASE_SECONDS = 5.0


def test_a_dead_worker_s_tasks_run_again_when_their_leases_have_lapsed(lease_lab: Lab) -> None:
    """Of one worker only the main process is killed, of another all at once; a third lives."""
    service, ledger = lease_lab.service, lease_lab.ledger
    headless = service.start_worker("headless")
    lost = [lease_lab.start("long_at_first", seconds=60) for _ in "12"]
    service.start_worker("gone")
    lost += [lease_lab.start("long_at_first", seconds=60) for _ in "12"]
    service.start_worker("left")
    neighbour = lease_lab.start("sleep", seconds=LEASE_SECONDS + 2)
    orphans = pool(headless)
    assert [service.read(task_id)["worker"].split("@")[0] for task_id in [*lost, neighbour]] == [
        *["headless"] * 2,
        *["gone"] * 2,
        "left",
    ]

    killed_at = now(lease_lab)
    kill_main_only(lease_lab, "headless")
    service.kill("gone")

    # They could run on without anybody who would know.
    wait_until_gone(orphans, 2)
    assert_they_run_again(lease_lab, lost, killed_at)
    done = service.wait_until(neighbour, "COMPLETED", "FAILED")
    assert (done["status"], done["attempt"]) == ("COMPLETED", 1)
    assert ledger.words(neighbour) == ["1 started", "1 finished"]


def test_all_workers_dead_and_one_started_later_lose_no_task(lease_lab: Lab) -> None:
    workers = ["first", "second"]
    lost = []
    for name in workers:
        lease_lab.service.start_worker(name)
        lost += [lease_lab.start("long_at_first", seconds=60) for _ in "12"]
    waiting = lease_lab.add("sleep")

    killed_at = now(lease_lab)
    for name in workers:
        lease_lab.service.kill(name)
    wait_for(
        lambda: lease_end(lease_lab, lost[0]) - now(lease_lab) < LEASE_SECONDS / 2,
        LEASE_SECONDS,
        "half of the lease is over",
    )
    lease_lab.service.start_worker("later")
    later_at = now(lease_lab)

    # What had not begun waits for no lease.
    first = lease_lab.service.wait_until(waiting, "COMPLETED", "FAILED", seconds=5)
    assert (first["status"], first["attempt"]) == ("COMPLETED", 1)
    # Nobody can run them before there is a worker.
    assert_they_run_again(lease_lab, lost, max(killed_at, later_at - LEASE_SECONDS))


def assert_they_run_again(lab: Lab, lost: list[int], killed_at: float) -> None:
    """Assert that each lost task completes, its second attempt soon enough, and never twice."""
    limit = LEASE_SECONDS + AFTER_A_LEASE_SECONDS
    ended = wait_until_final(lab, lost, limit + 5)
    starts = [timeline(lab, task_id).the("claimed", 2).at - killed_at for task_id in lost]
    figure(f"{len(lost)} tasks of dead workers run again, lease {LEASE_SECONDS:g} s", max(starts))
    assert max(starts) < limit
    for task_id in lost:
        row = ended[task_id]
        assert (row.status, row.attempt, row.crashes) == ("COMPLETED", 2, 1)
        assert lab.ledger.words(task_id) == ["1 started", "2 started", "2 finished"]
    assert lab.ledger.overlaps() == []


def test_a_task_that_kills_its_process_each_time_fails_and_says_why(lease_lab: Lab) -> None:
    service = lease_lab.service
    mains = [service.start_worker(name) for name in ("first", "second")]
    neighbours = [lease_lab.start("sleep", seconds=4) for _ in "12"]
    asked_at = now(lease_lab)
    poison = lease_lab.start("poison", max_attempts=2)

    done = service.wait_until(poison, "COMPLETED", "FAILED", seconds=20)

    figure("poison FAILED at the third crash", timeline(lease_lab, poison)[-1].at - asked_at)
    assert (done["status"], done["attempt"]) == ("FAILED", 3)
    assert re.fullmatch(
        r"The worker process died or fell silent 3 time\(s\) while running this task;"
        rf" the last one was {done['worker']}\.",
        done["error_info"],
    )
    assert timeline(lease_lab, poison)[-1].name == "crash_limit_reached"
    assert lease_lab.ledger.words(poison) == ["1 started", "2 started", "3 started"]
    # As many as all slots, so that each worker must be well.
    after = [lease_lab.add("sleep", seconds=1) for _ in "1234"]
    for task_id, row in wait_until_final(lease_lab, [*neighbours, *after], 20).items():
        if task_id != poison:
            assert (row.status, row.attempt, row.crashes) == ("COMPLETED", 1, 0)
            assert lease_lab.ledger.words(task_id) == ["1 started", "1 finished"]
    assert all(map(runs, mains))


def test_a_frozen_worker_s_late_results_are_refused(lease_lab: Lab) -> None:
    """Of three kinds: the other attempt has ended, it still runs, the late one has yet to end."""
    service, ledger = lease_lab.service, lease_lab.ledger
    service.settings["WORKER_CONCURRENCY"] = "3"
    first = service.start_worker("first")
    tasks = ended, running, _ = [
        lease_lab.start("sleep", seconds=2.5),
        lease_lab.start("sleep", seconds=6),
        lease_lab.start("long_at_first", seconds=120),
    ]
    frozen_at = now(lease_lab)
    with frozen(first, *pool(first)):
        service.start_worker("second")
        # Nobody can run them before there is another worker.
        since = max(frozen_at, now(lease_lab) - LEASE_SECONDS)
        neighbours = [lease_lab.add("sleep", seconds=0.5) for _ in "123"]
        for task_id in tasks:
            wait_for(
                lambda task_id=task_id: "2 started" in ledger.words(task_id), 25, "it runs again"
            )
        again = max(timeline(lease_lab, task_id).the("claimed", 2).at for task_id in tasks)
        figure(f"tasks of a frozen worker run again, lease {LEASE_SECONDS:g} s", again - since)
        assert again - since < LEASE_SECONDS + AFTER_A_LEASE_SECONDS
        service.wait_until(ended, "COMPLETED")
        assert service.read(running)["status"] == "IN_PROGRESS"

    # By the database, or because the thawed worker ends its own child before it can ask.
    refused = r"task {0}: (attempt 1 ends after .*: LOST|its process \d+ did not renew the lease)"
    for words in map(refused.format, tasks):
        wait_for(lambda words=words: re.search(words, service.log("first")), 5, words)
    after = wait_until_final(lease_lab, [*tasks, *neighbours], 20)
    for task_id in tasks:
        row = after[task_id]
        assert (row.status, row.attempt, row.result) == ("COMPLETED", 2, "done by attempt 2")
        names = timeline(lease_lab, task_id).names()
        assert (names.count("completed"), names[-1]) == (1, "completed")
    for task_id in neighbours:
        assert (after[task_id].status, after[task_id].attempt) == ("COMPLETED", 1)

    # The worker that was frozen is as good as before.
    service.stop("second")
    last = [lease_lab.add("sleep", seconds=0.2) for _ in "123"]
    for row in wait_until_final(lease_lab, last, 10).values():
        if row.id in last:
            assert (row.status, row.attempt) == ("COMPLETED", 1)
            assert row.worker.startswith("first@test/")
