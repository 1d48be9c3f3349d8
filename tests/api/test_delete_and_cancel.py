"""DELETE /tasks/{id} and POST /tasks/{id}/cancel, in every state of a task."""

from typing import Any

import httpx
import pytest

from tests.api.answers import assert_problem
from tests.service import Service
from tests.support import wait_for

UNKNOWN = 2**63 - 1


def running_task(service: Service) -> dict[str, Any]:
    task = service.create()
    return service.wait_until(task["id"], "IN_PROGRESS")


def test_a_deleted_task_is_gone_and_its_neighbour_stays(
    idle: Service, idle_client: httpx.Client
) -> None:
    task, neighbour = idle.create(), idle.create()

    response = idle_client.delete(f"/tasks/{task['id']}")

    assert (response.status_code, response.content) == (204, b"")
    assert_problem(idle_client.get(f"/tasks/{task['id']}"), 404)
    assert_problem(idle_client.delete(f"/tasks/{task['id']}"), 404)
    assert_problem(idle_client.put(f"/tasks/{task['id']}", json={"title": "after"}), 404)
    assert_problem(idle_client.post(f"/tasks/{task['id']}/cancel"), 404)
    assert idle.read(neighbour["id"])["id"] == neighbour["id"]


def test_a_deleted_running_task_makes_room_for_the_next(slow: Service) -> None:
    with slow.client() as client:
        task = running_task(slow)
        assert client.delete(f"/tasks/{task['id']}").status_code == 204
        assert_problem(client.get(f"/tasks/{task['id']}"), 404)

        following = running_task(slow)
        client.delete(f"/tasks/{following['id']}")


def test_a_waiting_task_is_cancelled_at_once(idle: Service, idle_client: httpx.Client) -> None:
    task, neighbour = idle.create(), idle.create()

    response = idle_client.post(f"/tasks/{task['id']}/cancel")

    assert response.status_code == 200
    cancelled = response.json()
    assert cancelled["status"] == "CANCELLED"
    assert cancelled["completed_at"]
    assert cancelled["cancel_requested_at"]
    assert idle.read(neighbour["id"])["status"] in {"NEW", "PENDING"}


def test_cancelling_a_cancelled_task_again_changes_nothing(
    idle: Service, idle_client: httpx.Client
) -> None:
    path = f"/tasks/{idle.create()['id']}/cancel"
    first = idle_client.post(path)

    second = idle_client.post(path)

    assert (second.status_code, second.json()) == (200, first.json())


def test_a_running_task_is_being_stopped_and_ends_cancelled(slow: Service) -> None:
    task, neighbour = running_task(slow), running_task(slow)
    path = f"/tasks/{task['id']}/cancel"
    with slow.client() as client:
        first, second = client.post(path), client.post(path)

        assert first.status_code == 202
        assert first.json()["status"] == "IN_PROGRESS"
        assert first.json()["cancel_requested_at"]
        assert second.status_code in {200, 202}
        assert second.json()["cancel_requested_at"] == first.json()["cancel_requested_at"]

        slow.wait_until(task["id"], "CANCELLED", seconds=10)
        assert client.post(path).status_code == 200
        assert slow.read(neighbour["id"])["status"] == "IN_PROGRESS"
        client.delete(f"/tasks/{neighbour['id']}")


@pytest.mark.parametrize(
    ("force_error", "status"), [(False, "COMPLETED"), (True, "FAILED")], ids=str
)
def test_a_task_that_has_ended_cannot_be_cancelled(
    service: Service, client: httpx.Client, force_error: bool, status: str
) -> None:
    task = service.create("/tasks/broken", force_error=force_error)
    ended = service.wait_until(task["id"], "COMPLETED", "FAILED")

    body = assert_problem(client.post(f"/tasks/{task['id']}/cancel"), 409)

    assert status in body["detail"]
    assert service.read(task["id"]) == ended


def test_cancel_needs_no_body_and_does_not_mind_one(
    idle: Service, idle_client: httpx.Client
) -> None:
    for body in (b"", b"{}", b"\xff\x00 not JSON"):
        response = idle_client.post(f"/tasks/{idle.create()['id']}/cancel", content=body)
        assert response.status_code == 200


def test_unknown_tasks_are_not_found(idle_client: httpx.Client) -> None:
    for response in (
        idle_client.get(f"/tasks/{UNKNOWN}"),
        idle_client.delete(f"/tasks/{UNKNOWN}"),
        idle_client.post(f"/tasks/{UNKNOWN}/cancel"),
    ):
        body = assert_problem(response, 404)
        assert str(UNKNOWN) in body["detail"]


def test_a_cancelled_waiting_task_is_never_run(slow: Service) -> None:
    with slow.client() as client:
        task = slow.create("/tasks/retry", retry_count=20)
        # It waits between two attempts for most of its time.
        wait_for(
            lambda: client.post(f"/tasks/{task['id']}/cancel").status_code == 200,
            10,
            "the cancel of a task that is retried has ended",
        )
        cancelled = slow.read(task["id"])
        other = slow.create("/tasks/broken", force_error=False, priority="LOW")
        slow.wait_until(other["id"], "COMPLETED")

    assert cancelled["status"] == "CANCELLED"
    assert slow.read(task["id"]) == cancelled
