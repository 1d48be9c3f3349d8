"""POST /tasks/, /tasks/broken and /tasks/retry with what they accept."""

from datetime import datetime, timedelta

import httpx
import pytest

from tests.api.answers import JSON
from tests.service import Service

WAYS = ["/tasks/", "/tasks", "/tasks/broken", "/tasks/retry"]


@pytest.mark.parametrize("path", WAYS)
def test_a_created_task_is_answered_whole_and_found_at_its_location(
    idle_client: httpx.Client, path: str
) -> None:
    body = {"title": "Отчёт", "description": "за ноябрь", "priority": "HIGH"}

    response = idle_client.post(path, json=body)

    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    task = response.json()
    assert task | body == task
    assert task["status"] == "NEW"
    assert task["queue"] == "high"
    assert task["attempt"] == 0
    assert task["progress"] == 0
    for name in ("started_at", "completed_at", "result", "error_info"):
        assert task[name] is None
    assert response.headers["location"] == f"/tasks/{task['id']}"
    read = idle_client.get(response.headers["location"]).json()
    assert read["id"] == task["id"]
    assert read | body == read


@pytest.mark.parametrize("path", WAYS)
def test_only_a_title_is_needed(idle_client: httpx.Client, path: str) -> None:
    task = idle_client.post(path, json={"title": "a"}).json()

    assert (task["description"], task["priority"], task["queue"]) == (None, "MEDIUM", "medium")


def test_times_are_rfc_3339_in_utc(idle_client: httpx.Client) -> None:
    task = idle_client.post("/tasks/", json={"title": "a"}).json()

    assert task["created_at"].endswith("Z")
    assert datetime.fromisoformat(task["created_at"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "title",
    [
        "x",
        "x" * 255,
        "😀" * 255,
        "  kept as it is  ",
        "a\ttab\nand a line",
        "'; DROP TABLE tasks; --",
        "<script>alert(1)</script>",
        "%00 \\u0000 {{title}} ${title}",
        "\u202eright to left\u202c",
        "\ufffe\uffff",
    ],
)
def test_a_title_is_kept_as_it_was_sent(idle_client: httpx.Client, title: str) -> None:
    task = idle_client.post("/tasks/", json={"title": title}).json()

    assert idle_client.get(f"/tasks/{task['id']}").json()["title"] == title


def test_a_description_may_fill_the_whole_body(idle_client: httpx.Client) -> None:
    description = "д" * 500_000

    body = f'{{"title":"a","description":"{description}"}}'.encode()
    response = idle_client.post("/tasks/", content=body, headers=JSON)

    assert response.status_code == 201
    assert response.json()["description"] == description


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.api+json",
    ],
)
def test_every_way_to_say_json_is_understood(idle_client: httpx.Client, content_type: str) -> None:
    response = idle_client.post(
        "/tasks/", content=b'{"title":"a"}', headers={"content-type": content_type}
    )

    assert response.status_code == 201


def test_a_byte_order_mark_is_ignored(idle_client: httpx.Client) -> None:
    # RFC 8259, section 8.1: a parser may ignore it. Windows' editors put it there.
    response = idle_client.post("/tasks/", content=b'\xef\xbb\xbf{"title":"a"}', headers=JSON)

    assert response.status_code == 201


def test_of_a_key_that_is_given_twice_the_last_one_counts(idle_client: httpx.Client) -> None:
    response = idle_client.post(
        "/tasks/", content=b'{"title":"first","title":"last"}', headers=JSON
    )

    assert response.json()["title"] == "last"


def test_a_body_may_come_in_chunks(idle_client: httpx.Client) -> None:
    chunks = iter([b'{"ti', b'tle":', b'"in chunks"}'])

    response = idle_client.post("/tasks/", content=chunks, headers=JSON)

    assert response.json()["title"] == "in chunks"


def test_a_broken_task_fails_and_says_why(service: Service) -> None:
    task = service.create("/tasks/broken")

    failed = service.wait_until(task["id"], "FAILED", "COMPLETED")

    assert failed["status"] == "FAILED"
    assert failed["error_info"]
    assert "\n" not in failed["error_info"]
    assert failed["result"] is None
    started, completed = (
        datetime.fromisoformat(failed[name]) for name in ("started_at", "completed_at")
    )
    assert completed >= started


def test_a_broken_task_that_is_told_not_to_fail_completes(service: Service) -> None:
    task = service.create("/tasks/broken", force_error=False)

    done = service.wait_until(task["id"], "FAILED", "COMPLETED")

    assert (done["status"], done["error_info"]) == ("COMPLETED", None)


def test_a_retry_task_fails_as_often_as_asked_and_then_completes(service: Service) -> None:
    task = service.create("/tasks/retry", retry_count=2)
    assert task["max_attempts"] == 3

    done = service.wait_until(task["id"], "FAILED", "COMPLETED")

    assert (done["status"], done["attempt"]) == ("COMPLETED", 3)


@pytest.mark.parametrize("count", [1, 20, 3.0])
def test_a_retry_count_may_be_any_integer_in_its_range(
    idle_client: httpx.Client, count: float
) -> None:
    response = idle_client.post("/tasks/retry", json={"title": "a", "retry_count": count})

    assert response.status_code == 201
    assert response.json()["payload"] == {"retry_count": count}
