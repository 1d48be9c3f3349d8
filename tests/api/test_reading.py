"""What is read of a task is what was answered when it was made; who polls hears of changes."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.service import Service


@pytest.fixture
def client(service: Service):
    with service.client() as client:
        yield client


# With zeros at the end of its fraction, which a time is written without.
LATER = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=100_000)
BODIES = [
    {"title": 'Отчёт "x" \\ \t\u0001 📊', "description": "a\nb", "priority": "HIGH",
     "delay_seconds": 900},
    {"title": "later", "run_at": LATER.isoformat(), "max_attempts": 7},
    {"title": "own terms", "delay_seconds": 900, "timeout_seconds": 2.5,
     "backoff": {"initial_seconds": 0.25, "factor": 3, "max_seconds": 9, "jitter": False}},
    {"title": "secret", "type": "http_request", "delay_seconds": 900,
     "payload": {"url": "https://example.com/", "headers": {"Authorization": "Bearer s3cret"}}},
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body["title"][:6])
def test_a_read_says_what_the_answer_to_the_creation_said(client: httpx.Client, body) -> None:
    made = client.post("/tasks/", json=body)
    assert made.status_code == 201, made.text
    created = made.json()
    one = client.get(made.headers["location"])
    (listed,) = client.get("/tasks/", params={"before": created["id"] + 1, "limit": 1}).json()
    assert one.json() == created
    assert listed == created
    assert list(listed) == list(created), "fields come in the same order"
    assert "s3cret" not in one.text


def test_a_poll_is_answered_without_a_body_until_something_changes(
    client: httpx.Client, service: Service
) -> None:
    task = service.create(title="polled", delay_seconds=900)
    for url in (f"/tasks/{task['id']}", f"/tasks/?limit=1&before={task['id'] + 1}"):
        tag = client.get(url).headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            unchanged = client.get(url, headers={"If-None-Match": known})
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            assert unchanged.headers["etag"] == tag
            assert "link" in unchanged.headers or "?" not in url
        other = client.get(url, headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.headers["etag"]) == (200, tag)
        assert client.put(f"/tasks/{task['id']}", json={"title": url}).status_code == 200
        changed = client.get(url, headers={"If-None-Match": tag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != tag


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "x", "9" * 19, "9" * 30])
def test_what_is_no_id_is_refused_and_what_names_nothing_is_not_found(
    client: httpx.Client, wrong: str
) -> None:
    answer = client.get(f"/tasks/{wrong}")
    assert answer.status_code == 422, answer.text
    assert "task_id" in answer.text
    assert client.get("/tasks/999999999999999999").status_code == 404
