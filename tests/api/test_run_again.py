"""POST /tasks/{id}/retry: which tasks run again, what stays of them, and what does not."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.answers import assert_problem
from tests.api.test_history import UNKNOWN
from tests.service import Service

FINAL = ("COMPLETED", "FAILED", "CANCELLED")


def run_again(service: Service, task_id: int) -> dict[str, Any]:
    with service.client() as client:
        response = client.post(f"/tasks/{task_id}/retry")
    assert response.status_code == 200, response.text
    return response.json()


def events(service: Service, task_id: int) -> list[tuple[str, str]]:
    with service.client() as client:
        found = client.get(f"/tasks/{task_id}/events").json()
    return [(event["event"], event["status"]) for event in found]


def outcomes(service: Service, task_id: int) -> list[tuple[int, str]]:
    with service.client() as client:
        found = client.get(f"/tasks/{task_id}/attempts").json()
    return [(attempt["number"], attempt["outcome"]) for attempt in found]


def test_a_failed_task_runs_again_and_its_attempts_are_counted_on(typed: Service) -> None:
    task = typed.create(title="Ещё раз", type="fails")
    neighbour = typed.create(type="fails")
    failed = typed.wait_until(task["id"], *FINAL)
    untouched = typed.wait_until(neighbour["id"], *FINAL)
    assert (failed["status"], failed["attempt"], failed["max_attempts"]) == ("FAILED", 2, 2)

    again = run_again(typed, task["id"])

    assert (again["status"], again["attempt"], again["max_attempts"]) == ("PENDING", 2, 3)
    assert (again["completed_at"], again["cancel_requested_at"]) == (None, None)
    assert (again["title"], again["created_at"]) == ("Ещё раз", task["created_at"])
    third = typed.wait_until(task["id"], *FINAL)
    assert (third["status"], third["attempt"]) == ("FAILED", 3)

    run_again(typed, task["id"])
    fourth = typed.wait_until(task["id"], *FINAL)
    assert (fourth["status"], fourth["attempt"], fourth["max_attempts"]) == ("COMPLETED", 4, 4)
    assert fourth["error_info"] is None
    assert outcomes(typed, task["id"]) == [
        (1, "FAILED"),
        (2, "FAILED"),
        (3, "FAILED"),
        (4, "COMPLETED"),
    ]
    assert events(typed, task["id"]).count(("retried", "PENDING")) == 2
    with typed.client() as client:
        lines = client.get(f"/tasks/{task['id']}/logs").json()
    assert [line["attempt"] for line in lines] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert typed.read(neighbour["id"]) == untouched


def test_a_task_that_was_cancelled_while_it_waited_runs_at_once(typed: Service) -> None:
    task = typed.create(delay_seconds=100_000)
    with typed.client() as client:
        assert client.post(f"/tasks/{task['id']}/cancel").json()["status"] == "CANCELLED"

    again = run_again(typed, task["id"])

    assert (again["attempt"], again["cancel_requested_at"]) == (0, None)
    done = typed.wait_until(task["id"], *FINAL)
    assert (done["status"], done["attempt"]) == ("COMPLETED", 1)
    told = [name for name, _ in events(typed, task["id"]) if name != "dispatched"]
    assert told == ["created", "cancelled", "retried", "claimed", "completed"]


def test_a_task_that_was_cancelled_while_it_ran_runs_again(typed: Service) -> None:
    task = typed.create(type="slow", payload={"seconds": 60})
    typed.wait_until(task["id"], "IN_PROGRESS")
    with typed.client() as client:
        client.post(f"/tasks/{task['id']}/cancel")
    typed.wait_until(task["id"], "CANCELLED")

    again = run_again(typed, task["id"])

    assert (again["status"], again["attempt"], again["max_attempts"]) == ("PENDING", 1, 2)
    assert (again["progress"], again["progress_note"]) == (0, None)
    running = typed.wait_until(task["id"], "IN_PROGRESS")
    assert running["attempt"] == 2
    with typed.client() as client:
        assert client.post(f"/tasks/{task['id']}/cancel").status_code == 202
    typed.wait_until(task["id"], "CANCELLED")
    assert outcomes(typed, task["id"]) == [(1, "CANCELLED"), (2, "CANCELLED")]


def test_only_a_task_that_ended_badly_runs_again(idle: Service, typed: Service) -> None:
    waiting = idle.create(delay_seconds=1000)
    queued = idle.create()
    idle.wait_until(queued["id"], "PENDING")
    running = typed.create(type="slow", payload={"seconds": 60})
    typed.wait_until(running["id"], "IN_PROGRESS")
    done = typed.create()
    typed.wait_until(done["id"], "COMPLETED")

    for service, task, status in (
        (idle, waiting, "PENDING"),
        (idle, queued, "PENDING"),
        (typed, running, "IN_PROGRESS"),
        (typed, done, "COMPLETED"),
    ):
        with service.client() as client:
            problem = assert_problem(client.post(f"/tasks/{task['id']}/retry"), 409)
        assert status in problem["detail"]
        assert service.read(task["id"])["status"] == status
    with typed.client() as client:
        assert client.delete(f"/tasks/{running['id']}").status_code == 204


def test_of_many_who_ask_at_the_same_time_one_succeeds(
    idle: Service, idle_client: httpx.Client
) -> None:
    task = idle.create()
    idle_client.post(f"/tasks/{task['id']}/cancel")

    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: httpx.post(f"{idle.url}/tasks/{task['id']}/retry"), range(8))
        )

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [409] * 7
    assert [name for name, _ in events(idle, task["id"])].count("retried") == 1
    assert idle.read(task["id"])["max_attempts"] == 1


@pytest.mark.parametrize("body", [None, b"{}", b"[", b"\xff", b"x" * 1000])
def test_no_body_is_needed_and_none_does_harm(
    idle: Service, idle_client: httpx.Client, body: bytes | None
) -> None:
    task = idle.create()
    idle_client.post(f"/tasks/{task['id']}/cancel")

    response = idle_client.post(f"/tasks/{task['id']}/retry", content=body)

    assert (response.status_code, response.json()["status"]) == (200, "PENDING")


def test_no_task_runs_again_that_is_not_there(idle: Service, idle_client: httpx.Client) -> None:
    assert_problem(idle_client.post(f"/tasks/{UNKNOWN}/retry"), 404)
    deleted = idle.create()["id"]
    idle_client.delete(f"/tasks/{deleted}")
    assert_problem(idle_client.post(f"/tasks/{deleted}/retry"), 404)
