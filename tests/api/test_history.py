"""GET /tasks/{id}/attempts, /events and /logs: what they tell, in which order, page by page."""

import re
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.api.answers import assert_names, assert_problem
from tests.api.own_types import PHRASE
from tests.service import Service

PARTS = ["attempts", "events", "logs"]
UNKNOWN = 2**63 - 1


@pytest.fixture(scope="module")
def failed(typed: Service) -> dict[str, Any]:
    """A task that has failed twice, with a time between its attempts."""
    neighbour = typed.create(type="fails", backoff={"initial_seconds": 0})
    task = typed.create(
        title="Провал", type="fails", backoff={"initial_seconds": 0.1, "jitter": False}
    )
    typed.wait_until(neighbour["id"], "FAILED")
    return typed.wait_until(task["id"], "FAILED")


@pytest.fixture(scope="module")
def get(typed_client: httpx.Client, failed: dict[str, Any]):
    """Return a function that reads a part of the failed task's past."""

    def read(part: str, query: str = "") -> httpx.Response:
        return typed_client.get(f"/tasks/{failed['id']}/{part}{query}")

    return read


def time(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def test_every_attempt_is_told_with_its_worker_times_outcome_and_error(get, failed) -> None:
    attempts = get("attempts").json()

    assert [attempt["number"] for attempt in attempts] == [1, 2]
    for number, attempt in enumerate(attempts, start=1):
        assert set(attempt) == {
            *("number", "worker", "started_at", "finished_at", "outcome", "error", "traceback")
        }
        assert re.fullmatch(r"worker@test/\d+", attempt["worker"])
        assert time(attempt["started_at"]) <= time(attempt["finished_at"])
        assert attempt["outcome"] == "FAILED"
        assert f"Сбой {number}: {PHRASE}" in attempt["error"]
        assert "own_types.py" in attempt["traceback"]
    assert time(attempts[0]["finished_at"]) <= time(attempts[1]["started_at"])
    assert attempts[1]["started_at"] == failed["started_at"]
    assert attempts[1]["error"] == failed["error_info"]


def test_an_attempt_that_runs_has_no_end_yet(typed: Service, typed_client: httpx.Client) -> None:
    task = typed.create(type="slow", payload={"seconds": 60})
    typed.wait_until(task["id"], "IN_PROGRESS")

    (attempt,) = typed_client.get(f"/tasks/{task['id']}/attempts").json()

    assert attempt["number"] == 1
    for name in ("finished_at", "outcome", "error", "traceback"):
        assert attempt[name] is None
    assert typed_client.delete(f"/tasks/{task['id']}").status_code == 204
    for part in PARTS:
        assert_problem(typed_client.get(f"/tasks/{task['id']}/{part}"), 404)


def test_the_timeline_tells_every_change_in_order_with_reasons(get) -> None:
    events = get("events").json()

    for event in events:
        assert set(event) == {"at", "event", "status", "attempt", "detail"}
    # A worker may be faster than the record that the message was published.
    told = [
        (event["event"], event["status"], event["attempt"])
        for event in events
        if event["event"] != "dispatched"
    ]
    assert told == [
        ("created", "NEW", 0),
        ("claimed", "IN_PROGRESS", 1),
        ("retry_scheduled", "PENDING", 1),
        ("claimed", "IN_PROGRESS", 2),
        ("failed", "FAILED", 2),
    ]
    times = [time(event["at"]) for event in events]
    assert times == sorted(times)
    details = {event["event"]: event["detail"] for event in events}
    assert "worker@test/" in details["claimed"]
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", details["retry_scheduled"])
    assert "Сбой 2" in details["failed"]


def test_what_people_do_is_in_the_timeline(idle: Service, idle_client: httpx.Client) -> None:
    task = idle.create(delay_seconds=1000, priority="LOW")
    path = f"/tasks/{task['id']}"
    idle_client.put(path, json={"priority": "HIGH"})
    idle_client.post(f"{path}/cancel")

    events = idle_client.get(f"{path}/events").json()

    assert [(event["event"], event["status"]) for event in events] == [
        ("created", "PENDING"),
        ("reprioritised", "PENDING"),
        ("cancelled", "CANCELLED"),
    ]
    assert "HIGH" in events[1]["detail"]


def test_the_lines_of_all_attempts_are_told_in_order(get) -> None:
    lines = get("logs").json()

    for line in lines:
        assert set(line) == {"at", "attempt", "level", "message"}
        assert time(line["at"])
    assert [(line["attempt"], line["level"], line["message"]) for line in lines] == [
        (1, "WARNING", "строка 1"),
        (1, "INFO", "a line"),
        (2, "WARNING", "строка 2"),
        (2, "INFO", "a line"),
    ]
    assert get("logs", "?attempt=2").json() == lines[2:]
    assert get("logs", "?attempt=3").json() == []


def pages(client: httpx.Client, url: str) -> list[list[Any]]:
    """Follow the Link header to the end."""
    found: list[list[Any]] = []
    while url:
        response = client.get(url)
        assert response.status_code == 200
        found.append(response.json())
        link = re.fullmatch(r'<([^>]+)>; rel="next"', response.headers.get("link", ""))
        url = link[1] if link else ""
        assert len(found) <= 20, "the links go round in circles"
    return found


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_links_lead_through_everything_once(
    get, typed_client: httpx.Client, failed, part: str, limit: int
) -> None:
    everything = get(part).json()

    found = pages(typed_client, f"/tasks/{failed['id']}/{part}?limit={limit}")

    assert [item for page in found for item in page] == everything
    assert all(len(page) == limit for page in found[:-1])
    assert 1 <= len(found[-1]) <= limit


@pytest.mark.parametrize("part", PARTS)
def test_what_is_skipped_is_left_out(get, part: str) -> None:
    everything = get(part).json()

    assert get(part, "?skip=1").json() == everything[1:]
    assert get(part, "?skip=1&limit=1").json() == everything[1:2]
    for far in (len(everything), 2**63 - 1):
        beyond = get(part, f"?skip={far}")
        assert (beyond.json(), "link" in beyond.headers) == ([], False)


def test_a_link_keeps_the_attempt(get) -> None:
    link = get("logs", "?attempt=2&limit=1").headers["link"]

    assert re.search(r"attempt=2\b", link)
    assert re.search(r"skip=1\b", link)


@pytest.mark.parametrize("part", PARTS)
def test_head_tells_what_get_would(typed_client: httpx.Client, failed, get, part: str) -> None:
    head = typed_client.head(f"/tasks/{failed['id']}/{part}?limit=1")

    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(get(part, "?limit=1").content)
    assert 'rel="next"' in head.headers["link"]


def test_a_new_task_has_a_timeline_only(idle: Service, idle_client: httpx.Client) -> None:
    path = f"/tasks/{idle.create()['id']}"

    assert idle_client.get(f"{path}/attempts").json() == []
    assert idle_client.get(f"{path}/logs").json() == []
    assert idle_client.get(f"{path}/events").json()[0]["event"] == "created"


@pytest.mark.parametrize("part", PARTS)
def test_the_past_of_no_task_is_not_found(idle_client: httpx.Client, part: str) -> None:
    for query in ("", f"?skip={2**63 - 1}", "?limit=1"):
        assert_problem(idle_client.get(f"/tasks/{UNKNOWN}/{part}{query}"), 404)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "#/limit"),
        ("limit=1001", "#/limit"),
        (f"limit={2**64}", "#/limit"),
        ("limit=%00", "#/limit"),
        ("skip=-1", "#/skip"),
        (f"skip={2**63}", "#/skip"),
        ("skip=%ed%a0%80", "#/skip"),
        ("skip=1.5", "#/skip"),
    ],
)
def test_a_wrong_page_is_named(
    idle_client: httpx.Client, part: str, query: str, pointer: str
) -> None:
    assert_names(idle_client.get(f"/tasks/1/{part}?{query}"), pointer)


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1.5", str(2**31), str(2**64), "%00"])
def test_a_wrong_attempt_is_named(idle_client: httpx.Client, value: str) -> None:
    assert_names(idle_client.get(f"/tasks/1/logs?attempt={value}"), "#/attempt")


@pytest.mark.parametrize("part", [*PARTS, "retry"])
@pytest.mark.parametrize(
    "task_id",
    [
        *("0", "-1", str(2**63), "abc", "%00", "%ed%a0%80", "1e3"),
        *("1%E2%80%83", "1%0B", "%201", "+1", "1_0", "1.0", "%D9%A1"),
    ],
)
def test_an_id_that_cannot_be_is_refused(
    idle_client: httpx.Client, part: str, task_id: str
) -> None:
    method = "POST" if part == "retry" else "GET"

    assert_names(idle_client.request(method, f"/tasks/{task_id}/{part}"), "#/task_id")
