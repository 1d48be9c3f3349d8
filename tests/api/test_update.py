"""PUT /tasks/{id}: what changes, what stays, and where a waiting task goes."""

from typing import Any

import httpx
import pytest
import redis

from tests.api.answers import assert_names, assert_problem
from tests.service import Service
from tests.support import wait_for

# What the service itself moves while a task waits.
MOVING = {"status", "updated_at"}


@pytest.fixture
def task(idle: Service) -> dict[str, Any]:
    return idle.create(title="before", description="text", priority="MEDIUM")


@pytest.fixture
def neighbour(idle: Service) -> dict[str, Any]:
    return idle.create(title="before", description="text", priority="MEDIUM")


def still(task: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in task.items() if name not in MOVING}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"title": "after"},
        {"description": "other"},
        {"description": ""},
        {"description": None},
        {"title": "after", "description": None},
        {"priority": "MEDIUM"},
    ],
)
def test_only_what_is_given_changes(
    idle_client: httpx.Client,
    task: dict[str, Any],
    neighbour: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    response = idle_client.put(f"/tasks/{task['id']}", json=changes)

    assert response.status_code == 200
    assert still(response.json()) == still(task) | changes
    assert still(idle_client.get(f"/tasks/{task['id']}").json()) == still(task) | changes
    assert still(idle_client.get(f"/tasks/{neighbour['id']}").json()) == still(neighbour)


def test_a_new_priority_moves_a_waiting_task_to_its_queue(
    idle: Service, idle_client: httpx.Client, task: dict[str, Any], neighbour: dict[str, Any]
) -> None:
    queue = redis.Redis.from_url(idle.redis_url, socket_timeout=5)
    idle.wait_until(task["id"], "PENDING")
    before = queue.llen("high")

    response = idle_client.put(f"/tasks/{task['id']}", json={"priority": "HIGH", "title": "after"})

    moved = {"priority": "HIGH", "queue": "high", "title": "after"}
    assert response.status_code == 200
    assert response.json() | moved == response.json()
    wait_for(lambda: queue.llen("high") > before, 5, "its message is in the queue `high`")
    queue.close()
    assert idle.read(task["id"])["status"] == "PENDING"
    assert still(idle.read(neighbour["id"])) == still(neighbour)


def test_a_new_priority_of_a_running_task_changes_nothing_else_about_it(slow: Service) -> None:
    task = slow.create(priority="LOW")
    slow.wait_until(task["id"], "IN_PROGRESS")

    with slow.client() as client:
        changed = client.put(f"/tasks/{task['id']}", json={"priority": "HIGH"})
        after = slow.read(task["id"])
        client.delete(f"/tasks/{task['id']}")

    assert (changed.status_code, changed.json()["priority"]) == (200, "HIGH")
    assert (after["status"], after["priority"], after["attempt"]) == ("IN_PROGRESS", "HIGH", 1)


def test_a_final_task_can_be_renamed_and_stays_final(service: Service) -> None:
    task = service.create()
    done = service.wait_until(task["id"], "COMPLETED")

    with service.client() as client:
        response = client.put(f"/tasks/{task['id']}", json={"title": "after", "priority": "LOW"})

    assert response.status_code == 200
    after = response.json()
    assert (after["title"], after["priority"]) == ("after", "LOW")
    for name in ("status", "result", "started_at", "completed_at", "attempt"):
        assert after[name] == done[name]


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"title": None}, ["#/title"]),
        ({"title": ""}, ["#/title"]),
        ({"title": " \t\n\u00a0"}, ["#/title"]),
        ({"title": "x" * 256}, ["#/title"]),
        ({"title": 7}, ["#/title"]),
        ({"priority": None}, ["#/priority"]),
        ({"priority": "high"}, ["#/priority"]),
        ({"priority": "URGENT"}, ["#/priority"]),
        ({"description": 7}, ["#/description"]),
        ({"description": ["a"]}, ["#/description"]),
        ({"status": "COMPLETED"}, ["#/status"]),
        ({"result": "mine", "title": "after"}, ["#/result"]),
        ({"id": 1}, ["#/id"]),
        ({"attempt": 0, "queue": "high"}, ["#/attempt", "#/queue"]),
        ({"Title": "after"}, ["#/Title"]),
        ({"a/b~c": 1}, ["#/a~1b~0c"]),
        ({"title": "", "priority": 1, "x": 2}, ["#/title", "#/priority", "#/x"]),
    ],
)
def test_what_cannot_be_changed_is_named_and_nothing_changes(
    idle_client: httpx.Client,
    task: dict[str, Any],
    neighbour: dict[str, Any],
    changes: dict[str, Any],
    pointers: list[str],
) -> None:
    response = idle_client.put(f"/tasks/{task['id']}", json=changes)

    assert_names(response, *pointers)
    for untouched in (task, neighbour):
        assert still(idle_client.get(f"/tasks/{untouched['id']}").json()) == still(untouched)


def test_an_unknown_id_is_not_found(idle_client: httpx.Client) -> None:
    assert_problem(idle_client.put(f"/tasks/{2**63 - 1}", json={"title": "after"}), 404)
