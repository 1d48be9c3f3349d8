"""run_at and delay_seconds: what they may be, and what becomes of a task that waits for them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from tests.api.answers import assert_names, assert_problem, nothing_stored
from tests.service import Service

# How late a task may start on an idle service.
LATEST_SECONDS = 1.0


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def ahead(**distance: float) -> datetime:
    return datetime.now(UTC) + timedelta(**distance)


def create(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post("/tasks/", json={"title": "a", **fields})
    assert response.status_code == 201, response.text
    return response.json()


@pytest.mark.parametrize(
    "offset",
    [
        timedelta(0),
        timedelta(hours=3),
        timedelta(hours=-14),
        timedelta(minutes=345),
        timedelta(hours=23, minutes=59),
        timedelta(hours=-23, minutes=-59),
    ],
)
def test_a_time_is_kept_whatever_its_zone(idle_client: httpx.Client, offset: timedelta) -> None:
    wanted = ahead(days=30).astimezone(timezone(offset))

    task = create(idle_client, run_at=wanted.isoformat())

    assert task["status"] == "PENDING"
    assert task["run_at"].endswith("Z")
    assert time(task["run_at"]) == wanted


def test_a_delay_counts_from_the_moment_the_task_is_stored(idle_client: httpx.Client) -> None:
    task = create(idle_client, delay_seconds=86_400.25)

    assert task["status"] == "PENDING"
    assert time(task["run_at"]) - time(task["created_at"]) == timedelta(seconds=86_400.25)
    events = idle_client.get(f"/tasks/{task['id']}/events").json()
    assert [(event["event"], event["status"]) for event in events] == [("created", "PENDING")]
    assert task["run_at"][:19] in events[0]["detail"]


@pytest.mark.parametrize(
    "past",
    [
        {"run_at": "2001-01-01T00:00:00Z"},
        {"run_at": "1969-12-31T23:59:59.999999+03:00"},
        {"run_at": "0001-01-01T00:00:00Z"},
        {"run_at": "0001-01-01T00:00:00+14:00"},
        {"run_at": "0001-01-01T00:00:00+23:59"},
        {"run_at": "0001-01-01T00:00:00-23:59"},
        {"delay_seconds": 0},
        {"run_at": None, "delay_seconds": None},
        {"run_at": "2001-01-01T00:00:00Z", "delay_seconds": None},
    ],
    ids=str,
)
def test_a_time_that_is_past_means_now(idle_client: httpx.Client, past: dict[str, Any]) -> None:
    task = create(idle_client, **past)

    assert (task["status"], task["run_at"]) == ("NEW", task["created_at"])


@pytest.mark.parametrize(
    "run_at",
    [
        "",
        "now",
        "tomorrow",
        "2030-01-01",
        "2030-01-01T00:00:00",
        "2030-01-01 00:00",
        "12:00:00Z",
        "2030-02-30T00:00:00Z",
        "2030-01-01T25:00:00Z",
        "2030-01-01T00:00:00+24:00",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-2030-01-01T00:00:00Z",
        "1893456000",
        "1893456000.5",
        "1e10",
        "-1",
        "P1D",
        "2030-01-01T00:00:00Z\0",
        "２０３０-01-01T00:00:00Z",
        1893456000,
        1893456000.5,
        -1,
        True,
        [],
        {},
        ["2030-01-01T00:00:00Z"],
    ],
    ids=ascii,
)
def test_what_is_no_time_with_a_zone_is_refused(
    idle: Service, idle_client: httpx.Client, run_at: Any
) -> None:
    with nothing_stored(idle):
        response = idle_client.post("/tasks/", json={"title": "a", "run_at": run_at})

    assert_names(response, "#/run_at")


@pytest.mark.parametrize(
    "run_at", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59+14:00"]
)
def test_the_end_of_time_is_too_far_ahead(
    idle: Service, idle_client: httpx.Client, run_at: str
) -> None:
    with nothing_stored(idle):
        response = idle_client.post("/tasks/", json={"title": "a", "run_at": run_at})

    assert_names(response, "#/run_at")


def test_a_year_ahead_is_the_most(idle: Service, idle_client: httpx.Client) -> None:
    create(idle_client, run_at=ahead(days=365, hours=23).isoformat())
    create(idle_client, delay_seconds=366 * 86_400)
    with nothing_stored(idle):
        too_late = {"title": "a", "run_at": ahead(days=366, seconds=60).isoformat()}
        assert_names(idle_client.post("/tasks/", json=too_late), "#/run_at")
        too_long = {"title": "a", "delay_seconds": 366 * 86_400 + 1}
        assert_names(idle_client.post("/tasks/", json=too_long), "#/delay_seconds")


@pytest.mark.parametrize("delay", [0, 1, 1000])
def test_a_time_and_a_delay_together_are_refused(
    idle: Service, idle_client: httpx.Client, delay: float
) -> None:
    body = {"title": "a", "run_at": ahead(days=1).isoformat(), "delay_seconds": delay}

    with nothing_stored(idle):
        assert_names(idle_client.post("/tasks/", json=body), "#/delay_seconds")


def test_tasks_start_within_a_second_of_their_time_and_not_before(
    typed: Service, record_property
) -> None:
    with typed.client() as client:
        by_time = [
            create(client, run_at=ahead(seconds=2 + number / 3).isoformat()) for number in range(6)
        ]
        by_delay = [create(client, delay_seconds=2.1 + number / 3) for number in range(6)]
        tasks = by_time + by_delay
        assert {task["status"] for task in tasks} == {"PENDING"}
        late = []
        for task in tasks:
            done = typed.wait_until(task["id"], "COMPLETED")
            assert done["run_at"] == task["run_at"]
            late.append((time(done["started_at"]) - time(done["run_at"])).total_seconds())

    record_property("seconds_late", late)
    assert min(late) >= 0
    assert max(late) < LATEST_SECONDS, late


def test_a_task_that_waits_for_its_time_can_be_changed(typed: Service) -> None:
    with typed.client() as client:
        task = create(client, delay_seconds=1.5, priority="LOW")
        changed = client.put(f"/tasks/{task['id']}", json={"title": "Позже", "priority": "HIGH"})

        assert changed.status_code == 200
        assert changed.json()["run_at"] == task["run_at"]
        assert (changed.json()["status"], changed.json()["queue"]) == ("PENDING", "high")
        done = typed.wait_until(task["id"], "COMPLETED")
        assert (done["title"], done["priority"]) == ("Позже", "HIGH")
        assert time(done["started_at"]) >= time(task["run_at"])


def test_a_task_that_waits_for_its_time_can_be_cancelled_or_deleted(typed: Service) -> None:
    with typed.client() as client:
        cancelled, deleted, kept = (create(client, delay_seconds=1.5) for _ in range(3))

        answer = client.post(f"/tasks/{cancelled['id']}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "CANCELLED")
        assert client.delete(f"/tasks/{deleted['id']}").status_code == 204

        typed.wait_until(kept["id"], "COMPLETED")
        after = typed.read(cancelled["id"])
        assert (after["status"], after["attempt"], after["started_at"]) == ("CANCELLED", 0, None)
        assert_problem(client.get(f"/tasks/{deleted['id']}"), 404)
