"""What a real worker leaves of a task's past: attempts, log lines, progress; running it again."""

import re
from datetime import datetime

from tests.lab import Lab
from tests.support import wait_for


def past(lab: Lab, task_id: int, what: str) -> list[dict]:
    with lab.service.client() as client:
        response = client.get(f"/tasks/{task_id}/{what}")
    assert response.status_code == 200, response.text
    return response.json()


def ended(lab: Lab, task_id: int, seconds: float = 30) -> dict:
    return lab.service.wait_until(task_id, "COMPLETED", "FAILED", "CANCELLED", seconds=seconds)


def test_every_attempt_is_kept_with_its_error_and_traceback(shared_lab: Lab) -> None:
    task_id = shared_lab.add("fails_twice", max_attempts=3)
    assert ended(shared_lab, task_id)["status"] == "COMPLETED"

    attempts = past(shared_lab, task_id, "attempts")

    assert [(a["number"], a["outcome"]) for a in attempts] == [
        (1, "FAILED"),
        (2, "FAILED"),
        (3, "COMPLETED"),
    ]
    # Without zeros at their end, they cannot be compared as text.
    ends = ("started_at", "finished_at")
    times = [[datetime.fromisoformat(a[name]) for name in ends] for a in attempts]
    assert all(started < finished for started, finished in times)
    assert attempts[0]["error"] == "RuntimeError: Сбой� номер 1 вторая строка"
    # The handler's own frames, and none of the machinery's.
    assert attempts[0]["traceback"].startswith("Traceback (most recent call last):")
    assert "in fails_twice" in attempts[0]["traceback"]
    assert "app/worker" not in attempts[0]["traceback"]
    assert attempts[2]["error"] is attempts[2]["traceback"] is None


def test_the_attempt_that_runs_is_listed_without_an_end(shared_lab: Lab) -> None:
    task_id = shared_lab.start("sleep", seconds=60)
    running = past(shared_lab, task_id, "attempts")
    assert [(a["number"], a["finished_at"], a["outcome"]) for a in running] == [(1, None, None)]

    with shared_lab.service.client() as client:
        client.post(f"/tasks/{task_id}/cancel")
    ended(shared_lab, task_id)

    assert [a["outcome"] for a in past(shared_lab, task_id, "attempts")] == ["CANCELLED"]


def test_a_killed_process_leaves_a_lost_attempt_and_what_it_had_logged(shared_lab: Lab) -> None:
    task_id = shared_lab.add("logs_and_dies", seconds=3.0)
    assert ended(shared_lab, task_id)["status"] == "COMPLETED"

    attempts = past(shared_lab, task_id, "attempts")
    lines = past(shared_lab, task_id, "logs")

    assert [a["outcome"] for a in attempts] == ["LOST", "COMPLETED"]
    assert "died" in attempts[0]["error"]
    assert [(line["attempt"], line["level"], line["message"]) for line in lines] == [
        (1, "INFO", "Строка 1"),
        (2, "INFO", "Строка 2"),
    ]
    # The worker's own log says whose line it is.
    assert f"app.task: task {task_id}: attempt 1: Строка 1\n" in shared_lab.service.log("worker")


def test_log_lines_are_limited_in_number_and_length(shared_lab: Lab) -> None:
    task_id = shared_lab.add("logs_much")
    assert ended(shared_lab, task_id)["status"] == "COMPLETED"

    lines = past(shared_lab, task_id, "logs")

    assert len(lines) == 1000
    assert lines[0]["message"].startswith("line 1 яяя")
    assert all(len(line["message"]) <= 2000 for line in lines)
    assert lines[-1]["message"] == "Further lines of this attempt are not kept."


def test_progress_however_often_it_is_reported_costs_one_write_a_heartbeat(
    shared_lab: Lab,
) -> None:
    task_id = shared_lab.start("reports_progress_often", seconds=4)
    wait_for(
        lambda: shared_lab.service.read(task_id)["progress"] == 0.5, 5, "the progress is stored"
    )
    assert shared_lab.service.read(task_id)["progress_note"].startswith("call ")
    done = ended(shared_lab, task_id)

    (line,) = past(shared_lab, task_id, "logs")
    calls = int(re.fullmatch(r"(\d+) calls", line["message"])[1])
    # Were each a write, there could be a few thousand at most.
    assert calls > 50_000
    assert done["progress"] == 1.0


def test_the_idempotency_token_is_the_same_for_every_attempt(shared_lab: Lab) -> None:
    tasks = [shared_lab.add("is_same_token", max_attempts=2) for _ in range(2)]
    for task_id in tasks:
        assert ended(shared_lab, task_id)["status"] == "COMPLETED"

    tokens = [
        {
            entry.word
            for entry in shared_lab.ledger.entries()
            if entry.task_id == task_id and len(entry.word) == 36
        }
        for task_id in tasks
    ]

    assert [len(of_task) for of_task in tokens] == [1, 1]
    assert tokens[0] != tokens[1]


def test_a_failed_task_runs_again_when_a_person_asks_for_it(shared_lab: Lab) -> None:
    task_id = shared_lab.add("fails_twice", max_attempts=1)
    assert ended(shared_lab, task_id)["status"] == "FAILED"
    for attempt, status in ((2, "FAILED"), (3, "COMPLETED")):
        with shared_lab.service.client() as client:
            again = client.post(f"/tasks/{task_id}/retry")
        assert again.status_code == 200, again.text
        assert (again.json()["status"], again.json()["completed_at"]) == ("PENDING", None)
        assert again.json()["max_attempts"] == attempt
        assert ended(shared_lab, task_id)["status"] == status

    assert [a["number"] for a in past(shared_lab, task_id, "attempts")] == [1, 2, 3]
    events = [event["event"] for event in past(shared_lab, task_id, "events")]
    assert events.count("retried") == 2
    assert events[-1] == "completed"
    with shared_lab.service.client() as client:
        assert client.post(f"/tasks/{task_id}/retry").status_code == 409


def test_a_task_that_was_cancelled_while_it_ran_runs_again_and_completes(shared_lab: Lab) -> None:
    task_id = shared_lab.start("long_at_first", seconds=60)
    with shared_lab.service.client() as client:
        assert client.post(f"/tasks/{task_id}/cancel").status_code == 202
        ended(shared_lab, task_id)
        assert client.post(f"/tasks/{task_id}/retry").status_code == 200

    assert ended(shared_lab, task_id)["status"] == "COMPLETED"
    assert shared_lab.ledger.words(task_id) == ["1 started", "2 started", "2 finished"]
    assert shared_lab.ledger.overlaps() == []
