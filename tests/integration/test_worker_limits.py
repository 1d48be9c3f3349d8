"""A real worker with tasks that ask for time, pauses and size: limits, schedules, unknown types."""

import time
from datetime import datetime, timedelta

import pytest

from app.db import creation
from app.domain.priority import Priority
from app.domain.task import NewTask
from tests.lab import Lab
from tests.support import wait_for


def add(lab: Lab, kind: str, payload: dict, **options) -> int:
    options.setdefault("max_attempts", 1)
    new = NewTask("задача", None, Priority.MEDIUM, kind, payload, **options)
    with lab.database.transaction() as connection:
        return creation.insert_task(connection, new).id


def past(lab: Lab, task_id: int, what: str) -> list[dict]:
    with lab.service.client() as client:
        return client.get(f"/tasks/{task_id}/{what}").json()


def ended(lab: Lab, task_id: int, seconds: float = 30) -> dict:
    return lab.service.wait_until(task_id, "COMPLETED", "FAILED", "CANCELLED", seconds=seconds)


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("sleep", 2.5),
        ("waits_async", 2.5),
        # The grace time of a second, and a process to start.
        ("swallows_everything", 5),
        ("deaf_c_call", 5),
        # Even its own process cannot end it; the worker does, long before the lease would.
        ("holds_interpreter", 8),
        # Also of what it raises.
        ("raises_what_has_no_end", 2.5),
    ],
)
def test_the_time_limit_of_a_task_holds_whatever_its_code_does(
    shared_lab: Lab, kind: str, most: float
) -> None:
    task_id = add(shared_lab, kind, {"seconds": 60}, timeout_seconds=1)
    done = ended(shared_lab, task_id)

    assert done["status"] == "FAILED"
    assert done["error_info"] == "The attempt ran longer than the 1 s that it may."
    (attempt,) = past(shared_lab, task_id, "attempts")
    assert attempt["outcome"] == "TIMED_OUT"
    started, finished = (
        datetime.fromisoformat(attempt[name]) for name in ("started_at", "finished_at")
    )
    # Its time counts from a moment before the claim.
    assert timedelta(seconds=0.9) < finished - started <= timedelta(seconds=most)
    # Its worker is fit for the next task.
    assert ended(shared_lab, add(shared_lab, "sleep", {}))["status"] == "COMPLETED"


def test_a_time_out_is_a_failure_that_is_retried(shared_lab: Lab) -> None:
    task_id = add(shared_lab, "long_at_first", {"seconds": 60}, timeout_seconds=0.5, max_attempts=2)
    assert ended(shared_lab, task_id)["status"] == "COMPLETED"
    assert [a["outcome"] for a in past(shared_lab, task_id, "attempts")] == [
        "TIMED_OUT",
        "COMPLETED",
    ]


@pytest.mark.parametrize("raises", [False, True])
def test_what_a_handler_makes_of_being_stopped_is_no_result(shared_lab: Lab, raises: bool) -> None:
    payload = {"seconds": 60, "raises": raises}
    task_id = add(shared_lab, "goes_on_when_stopped", payload, timeout_seconds=0.5)
    failed = ended(shared_lab, task_id)
    assert (failed["status"], failed["result"]) == ("FAILED", None)
    assert failed["error_info"] == "The attempt ran longer than the 0.5 s that it may."


def test_a_result_at_the_limit_is_kept_and_one_above_it_fails_the_task(shared_lab: Lab) -> None:
    fits = add(shared_lab, "returns_much", {"bytes": 262_144})
    exceeds = add(shared_lab, "returns_much", {"bytes": 262_145}, max_attempts=3)

    assert len(ended(shared_lab, fits)["result"]) == 262_142
    failed = ended(shared_lab, exceeds)

    # The work is done: to do it again would help nobody.
    assert (failed["status"], failed["attempt"], failed["result"]) == ("FAILED", 1, None)
    assert "larger than the 262144 bytes" in failed["error_info"]


def test_a_result_that_is_endless_as_text_harms_nobody(shared_lab: Lab) -> None:
    task_id = add(shared_lab, "returns_endless_text", {})
    failed = ended(shared_lab, task_id, seconds=10)
    assert (failed["status"], failed["attempt"]) == ("FAILED", 1)
    assert "larger than the 262144 bytes" in failed["error_info"]


def test_progress_that_is_set_past_its_limits_harms_nobody(shared_lab: Lab) -> None:
    task_id = add(shared_lab, "sets_odd_progress", {"seconds": 1.0})
    done = ended(shared_lab, task_id, seconds=10)
    assert (done["status"], done["attempt"]) == ("COMPLETED", 1)
    (line,) = past(shared_lab, task_id, "logs")
    assert line["level"] == "NOT\N{REPLACEMENT CHARACTER}ICE"


def test_a_payload_that_does_not_fit_any_more_fails_at_once_without_its_values(
    shared_lab: Lab,
) -> None:
    task_id = add(shared_lab, "sleep", {"seconds": "геheim"}, max_attempts=5)
    failed = ended(shared_lab, task_id)

    assert (failed["status"], failed["attempt"]) == ("FAILED", 1)
    assert "payload is not valid: seconds:" in failed["error_info"]
    said = failed["error_info"] + str(past(shared_lab, task_id, "attempts"))
    assert "геheim" not in said + shared_lab.service.log("worker")


def test_a_pause_that_a_handler_asks_for_is_kept(shared_lab: Lab) -> None:
    task_id = add(shared_lab, "asks_for_a_pause", {"seconds": 1.5}, max_attempts=2)
    assert ended(shared_lab, task_id)["status"] == "COMPLETED"
    first, second = shared_lab.ledger.entries()[-3], shared_lab.ledger.entries()[-2]
    assert (first.task_id, second.task_id) == (task_id, task_id)
    assert 1.5 <= second.at - first.at < 3.5


def test_scheduled_tasks_start_within_a_second_of_their_time(shared_lab: Lab) -> None:
    late = []
    for delay in (1.7, 1.1, 1.6):
        asked_at = time.monotonic()
        task_id = add(shared_lab, "sleep", {}, delay_seconds=delay)
        added_at = time.monotonic()
        assert shared_lab.service.read(task_id)["status"] == "PENDING"
        assert ended(shared_lab, task_id)["status"] == "COMPLETED"
        started_at = shared_lab.ledger.entries()[-2].at
        # Its time counts from some moment between these two.
        assert started_at >= asked_at + delay
        late.append(started_at - added_at - delay)
    assert max(late) < 1, late


def test_waiting_for_its_time_a_task_can_be_changed_cancelled_and_deleted(shared_lab: Lab) -> None:
    changed, cancelled, deleted = (
        add(shared_lab, "sleep", {}, delay_seconds=delay) for delay in (4, 60, 60)
    )
    with shared_lab.service.client() as client:
        answer = client.put(f"/tasks/{changed}", json={"priority": "HIGH", "title": "Новое"})
        assert (answer.status_code, answer.json()["status"]) == (200, "PENDING")
        assert client.post(f"/tasks/{cancelled}/cancel").json()["status"] == "CANCELLED"
        assert client.delete(f"/tasks/{deleted}").status_code == 204
    assert shared_lab.ledger.words(changed) == []
    done = ended(shared_lab, changed)
    assert (done["status"], done["queue"], done["title"]) == ("COMPLETED", "high", "Новое")
    assert shared_lab.ledger.words(cancelled) == shared_lab.ledger.words(deleted) == []


@pytest.mark.parametrize(("catches", "word"), [(False, "cleaned"), (True, "cleaned")])
def test_an_async_handler_is_cancelled_as_asyncio_does_it(
    shared_lab: Lab, catches: bool, word: str
) -> None:
    task_id = shared_lab.start("waits_async", seconds=60, catches=catches)
    with shared_lab.service.client() as client:
        assert client.post(f"/tasks/{task_id}/cancel").status_code == 202
    done = ended(shared_lab, task_id, seconds=5)
    assert (done["status"], done["result"]) == ("CANCELLED", None)
    assert f"1 {word}" in shared_lab.ledger.words(task_id)


def test_an_async_handler_completes(shared_lab: Lab) -> None:
    task_id = add(shared_lab, "waits_async", {"seconds": 0.1})
    assert ended(shared_lab, task_id)["result"] == "awaited"


def test_a_thread_of_a_handler_hears_that_it_is_to_stop(shared_lab: Lab) -> None:
    task_id = shared_lab.start("asks_whether_to_stop")
    with shared_lab.service.client() as client:
        client.post(f"/tasks/{task_id}/cancel")
    assert ended(shared_lab, task_id, seconds=5)["status"] == "CANCELLED"
    assert "1 heard" in shared_lab.ledger.words(task_id)


def test_a_task_of_an_unknown_type_waits_for_a_while_and_then_fails(shared_lab: Lab) -> None:
    task_id = shared_lab.add("nobody_knows", max_attempts=3)
    wait_for(
        lambda: "set_aside" in [e["event"] for e in past(shared_lab, task_id, "events")],
        10,
        "it is set aside",
    )
    assert shared_lab.service.read(task_id)["status"] == "PENDING"

    done = ended(shared_lab, task_id)

    assert (done["status"], done["attempt"]) == ("FAILED", 0)
    assert "No worker knows the task type nobody_knows" in done["error_info"]
    assert past(shared_lab, task_id, "attempts") == []


def test_a_type_that_only_a_newer_worker_knows_is_left_for_it(own_lab: Lab) -> None:
    own_lab.service.worker_app = "app.worker.celery"
    own_lab.service.start_worker("older")
    task_ids = [own_lab.add("sleep", max_attempts=1) for _ in range(4)]
    for task_id in task_ids:
        wait_for(
            lambda task_id=task_id: "set_aside" in str(past(own_lab, task_id, "events")),
            10,
            f"the older worker has set task {task_id} aside",
        )

    own_lab.service.worker_app = "tests.worker_app"
    own_lab.service.start_worker("newer")

    for task_id in task_ids:
        done = ended(own_lab, task_id)
        assert (done["status"], done["attempt"]) == ("COMPLETED", 1)
        assert done["worker"].startswith("newer@test/")
        assert own_lab.ledger.words(task_id) == ["1 started", "1 finished"]
