"""Single processes of a worker that can neither renew a lease nor stop: the others go on.

One whose handler holds the interpreter's lock, and one that is frozen by itself (SIGSTOP). Each is
ended before its lease lapses, so that no task ever runs twice at the same time.
"""

import pytest

from tests.faults.conftest import LEASE_SECONDS, LONG
from tests.faults.evidence import (
    cancel,
    chance,
    lease_end,
    now,
    rows,
    timeline,
    wait_until_final,
)
from tests.faults.figures import figure
from tests.faults.processes import frozen, process_of, runs, wait_until_gone
from tests.lab import Lab
from tests.support import wait_for

AFTER_A_LEASE_SECONDS = 5.0
# When they are ended, and by when what they ran must be on record as cancelled, then.
ENDED_AFTER_SECONDS = 0.9 * LEASE_SECONDS
CANCELLED_AFTER_SECONDS = ENDED_AFTER_SECONDS + AFTER_A_LEASE_SECONDS

pytestmark = pytest.mark.timeout(900 if LONG else 180)


def test_stuck_processes_are_ended_and_their_tasks_run_again_or_end(lease_lab: Lab) -> None:
    lease_lab.service.settings |= {"WORKER_CONCURRENCY": "7", "CRASH_LIMIT": "2"}
    main = lease_lab.service.start_worker()
    again = {
        "holds the interpreter": lease_lab.start("holds_interpreter_at_first"),
        "frozen": lease_lab.start("long_at_first", seconds=120),
    }
    cancelled = {
        "holds the interpreter": lease_lab.start("holds_interpreter"),
        "frozen": lease_lab.start("sleep", seconds=120),
    }
    for_ever = lease_lab.start("freezes")
    neighbours = [lease_lab.start("sleep", seconds=LEASE_SECONDS + 3)]
    stuck = {
        task_id: process_of(lease_lab, task_id)
        for task_id in [*again.values(), *cancelled.values(), for_ever]
    }
    lapses = {task_id: lease_end(lease_lab, task_id) for task_id in stuck}
    stopped = [stuck[again["frozen"]], stuck[cancelled["frozen"]]]
    with frozen(*stopped):
        frozen_at = now(lease_lab)
        assert cancel(lease_lab, cancelled["holds the interpreter"]) == 202
        assert cancel(lease_lab, cancelled["frozen"]) == 202
        # The slot that is left goes on working. It is free again before the leases would lapse, so
        # that a second attempt beside the first one would be seen.
        neighbours += [lease_lab.add("sleep", seconds=LEASE_SECONDS / 40) for _ in range(20)]

        ended = wait_until_final(
            lease_lab,
            [*again.values(), *cancelled.values(), for_ever, *neighbours],
            2 * (LEASE_SECONDS + AFTER_A_LEASE_SECONDS) + 5,
        )
        wait_until_gone(list(stuck.values()), 1)

    for name, task_id in again.items():
        row, events = ended[task_id], timeline(lease_lab, task_id)
        assert (row.status, row.attempt, row.crashes) == ("COMPLETED", 2, 1), name
        assert lease_lab.ledger.words(task_id) == ["1 started", "2 started", "2 finished"]
        stuck_at = events.the("claimed", 1).at if "holds" in name else frozen_at
        took = events.the("claimed", 2).at - stuck_at
        figure(f"task of a process that {name} runs again, lease {LEASE_SECONDS:g} s", took)
        assert took < LEASE_SECONDS + AFTER_A_LEASE_SECONDS
    for name, task_id in cancelled.items():
        row, events = ended[task_id], timeline(lease_lab, task_id)
        assert (row.status, row.attempt) == ("CANCELLED", 1), name
        assert lease_lab.ledger.words(task_id) == ["1 started"]
        took = events.the("cancelled").at - events.the("cancel_requested").at
        figure(f"cancel of a task whose process {name}, lease {LEASE_SECONDS:g} s", took)
        assert took < CANCELLED_AFTER_SECONDS
    row = ended[for_ever]
    assert (row.status, row.attempt) == ("FAILED", 2)
    assert "2 time(s)" in row.error_info
    assert lease_lab.ledger.words(for_ever) == ["1 started", "2 started"]
    assert lapses[for_ever] - frozen_at < LEASE_SECONDS

    for task_id in neighbours:
        row = ended[task_id]
        assert (task_id, row.status, row.attempt, row.crashes) == (task_id, "COMPLETED", 1, 0)
        assert lease_lab.ledger.words(task_id) == ["1 started", "1 finished"]
    assert lease_lab.ledger.overlaps() == []
    assert runs(main)


def test_a_process_that_goes_on_just_before_it_would_be_ended_loses_no_later_task(
    lease_lab: Lab,
) -> None:
    """Thawed at random moments about the one at which they are killed (0.9 of the lease)."""
    random = chance("thaws about the moment of the kill")
    slots = 6
    lease_lab.service.settings |= {"WORKER_CONCURRENCY": str(slots), "CRASH_LIMIT": "100"}
    main = lease_lab.service.start_worker()
    for _ in range(6 if LONG else 1):
        first = [lease_lab.start("sleep", seconds=1.5) for _ in range(slots)]
        processes = [process_of(lease_lab, task_id) for task_id in first]
        with frozen(*processes):
            frozen_at = now(lease_lab)
            following = [lease_lab.add("sleep", seconds=0.3) for _ in range(5 * slots)]
            moments = [frozen_at + ENDED_AFTER_SECONDS + random.uniform(-0.6, 0.6) for _ in first]
            for moment, process in sorted(zip(moments, processes, strict=True)):
                wait_for(lambda moment=moment: now(lease_lab) > moment, 20, "the moment is there")
                if runs(process):
                    process.resume()

        ended = wait_until_final(lease_lab, [*first, *following], 30)
        for task_id in first:
            row = ended[task_id]
            # Frozen in the midst of a heartbeat, it finds when thawed that its lease could not be
            # renewed in time, and hands the task back: that is no crash.
            released = timeline(lease_lab, task_id).names().count("released")
            assert (row.status, row.attempt) == ("COMPLETED", 1 + row.crashes + released)
        for task_id in following:
            row = ended[task_id]
            assert (task_id, row.status, row.attempt, row.crashes) == (task_id, "COMPLETED", 1, 0)
            assert lease_lab.ledger.words(task_id) == ["1 started", "1 finished"]
        print(f"{sum(rows(lease_lab)[task_id].crashes for task_id in first)} of {slots} killed")
    assert lease_lab.ledger.overlaps() == []
    assert runs(main)
