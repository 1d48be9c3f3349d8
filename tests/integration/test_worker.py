"""A real worker's life with its tasks: results, failures, retries, cancels, deletes, crashes.

The service's own word counts only together with the ledger that handlers write outside it.
"""

import re
from datetime import datetime

import pytest
from sqlalchemy import text

from tests.lab import Lab
from tests.support import wait_for


def events(lab: Lab, task_id: int) -> list[str]:
    with lab.database.transaction() as connection:
        query = text("SELECT event FROM task_events WHERE task_id = :id ORDER BY id")
        return list(connection.execute(query, {"id": task_id}).scalars())


def cancel(lab: Lab, task_id: int) -> int:
    with lab.service.client() as client:
        return client.post(f"/tasks/{task_id}/cancel").status_code


def test_a_task_completes_with_its_result_and_timeline(shared_lab: Lab) -> None:
    task_id = shared_lab.add("sleep", seconds=0.1)

    done = shared_lab.service.wait_until(task_id, "COMPLETED", "FAILED")

    assert (done["status"], done["result"]) == ("COMPLETED", "done by attempt 1")
    assert shared_lab.ledger.words(task_id) == ["1 started", "1 finished"]
    # A worker may be faster than the record that its message was published.
    assert events(shared_lab, task_id) in (
        ["created", "dispatched", "claimed", "completed"],
        ["created", "claimed", "completed"],
    )


def test_failures_are_retried_after_growing_pauses(shared_lab: Lab) -> None:
    task_id = shared_lab.add("fails_twice", max_attempts=3)

    done = shared_lab.service.wait_until(task_id, "COMPLETED", "FAILED")

    assert (done["status"], done["attempt"], done["error_info"]) == ("COMPLETED", 3, None)
    assert shared_lab.ledger.words(task_id) == [
        "1 started",
        "2 started",
        "3 started",
        "3 finished",
    ]
    with shared_lab.database.transaction() as connection:
        query = text(
            "SELECT event, detail, at FROM task_events"
            " WHERE task_id = :id AND event IN ('retry_scheduled', 'claimed') ORDER BY id"
        )
        lines = connection.execute(query, {"id": task_id}).all()
        query = text("SELECT finished_at FROM task_attempts WHERE task_id = :id ORDER BY number")
        ends = connection.execute(query, {"id": task_id}).scalars().all()
    for i, pause in ((1, 0.5), (3, 1.0)):
        (event, detail, _), claim = lines[i], lines[i + 1]
        assert (event, claim.event) == ("retry_scheduled", "claimed")
        # One readable line, whatever the handler raised.
        said = re.fullmatch(
            r"at (\S+Z), after: RuntimeError: Сбой� номер (\d) вторая строка", detail
        )
        assert said, detail
        assert said[2] == str(1 + i // 2)
        due_at = datetime.fromisoformat(said[1])
        # The pause counts from the moment that the attempt's record gives, and what is said of it
        # is cut off to milliseconds. When it is claimed depends on what else goes on.
        assert 0 <= (ends[i // 2] - due_at).total_seconds() + pause < 0.001
        assert claim.at >= due_at


def test_a_permanent_error_is_not_retried(shared_lab: Lab) -> None:
    task_id = shared_lab.add("gives_up", max_attempts=5)

    done = shared_lab.service.wait_until(task_id, "COMPLETED", "FAILED")

    assert (done["status"], done["attempt"]) == ("FAILED", 1)
    assert done["error_info"] == "PermanentError: there is no point"


def test_a_result_that_is_no_json_fails_the_task_with_a_reason(shared_lab: Lab) -> None:
    task_id = shared_lab.add("returns_no_json")
    done = shared_lab.service.wait_until(task_id, "COMPLETED", "FAILED")
    assert done["status"] == "FAILED"
    assert "not JSON" in done["error_info"]


def test_text_that_the_database_cannot_hold_is_replaced(shared_lab: Lab) -> None:
    task_id = shared_lab.add("returns_odd_text")
    done = shared_lab.service.wait_until(task_id, "COMPLETED", "FAILED")
    assert done["status"] == "COMPLETED"
    assert done["result"] == {"nul�": ["���", "Юникод", None, 1.5]}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("exits", "SystemExit: 3"),
        ("is_cancelled_inside", "CancelledError"),
        ("is_unspeakable", "UnspeakableError"),
    ],
)
def test_whatever_a_handler_raises_is_its_failure(shared_lab: Lab, kind: str, reason: str) -> None:
    task_id = shared_lab.add(kind)
    done = shared_lab.service.wait_until(task_id, "COMPLETED", "FAILED")
    assert (done["status"], done["attempt"], done["error_info"]) == ("FAILED", 1, reason)


def test_cancels_in_the_midst_of_logging_leave_the_process_able_to_cancel(shared_lab: Lab) -> None:
    for _ in range(6):
        task_id = shared_lab.start("logs_without_end")
        assert cancel(shared_lab, task_id) == 202
        done = shared_lab.service.wait_until(task_id, "CANCELLED", seconds=5)
        assert done["attempt"] == 1


def test_deleting_a_running_task_stops_it(shared_lab: Lab) -> None:
    task_id = shared_lab.start("sleep", seconds=60)

    with shared_lab.service.client() as client:
        assert client.delete(f"/tasks/{task_id}").status_code == 204
        assert client.get(f"/tasks/{task_id}").status_code == 404
    wait_for(
        lambda: f"task {task_id}: attempt 1 ends" in shared_lab.service.log("worker"),
        3,
        "the worker has stopped the deleted task",
    )
    assert shared_lab.ledger.words(task_id) == ["1 started"]


@pytest.mark.parametrize("kind", ["sleep", "swallows_everything"])
def test_an_attempt_that_takes_too_long_is_stopped_and_counts_as_a_failure(
    own_lab: Lab, kind: str
) -> None:
    own_lab.service.settings |= {"TIME_LIMIT_SECONDS": "1", "CANCEL_GRACE_SECONDS": "1"}
    own_lab.service.start_worker()
    task_id = own_lab.start(kind, max_attempts=2, seconds=60)

    done = own_lab.service.wait_until(task_id, "COMPLETED", "FAILED", seconds=15)

    assert (done["status"], done["attempt"]) == ("FAILED", 2)
    assert "longer than the 1 s" in done["error_info"]
    assert events(own_lab, task_id).count("retry_scheduled") == 1
    assert own_lab.ledger.words(task_id) == ["1 started", "2 started"]
