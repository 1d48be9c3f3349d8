"""http_request from the API through a real worker to a real target, and back."""

import base64
import hashlib
import hmac
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests import http_target, servers
from tests.http_target import Target, answer, in_turn, redirect
from tests.service import FINAL, Service, running

SECRET = b"the key of the tests"
AT_ONCE = {"initial_seconds": 0, "jitter": False}


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with http_target.target() as own:
        yield own


@pytest.fixture(scope="module")
def site(
    target: Target,
    postgres: servers.Postgres,
    valkey: servers.Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """A service that may reach the target and nothing else that is not public."""
    with (
        postgres.database() as database_url,
        valkey.database() as redis_url,
        running(
            database_url,
            redis_url,
            tmp_path_factory.mktemp("http_request"),
            WORKER_CONCURRENCY="2",
            HTTP_REQUEST_ALLOW=f"127.0.0.1:{target.port}",
            HTTP_REQUEST_SECRET=f"whsec_{base64.b64encode(SECRET).decode()}",
            HTTP_REQUEST_MAX_BODY_BYTES="1000",
        ) as own,
    ):
        yield own


def ended(site: Service, task: dict[str, Any]) -> dict[str, Any]:
    return site.wait_until(task["id"], *FINAL)


def ask(site: Service, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    return site.create(type="http_request", payload=payload, **more)


def attempts(site: Service, task: dict[str, Any]) -> list[dict[str, Any]]:
    with site.client() as client:
        return client.get(f"/tasks/{task['id']}/attempts").json()


def test_a_task_calls_its_target_and_keeps_the_answer(site: Service, target: Target) -> None:
    url = target.on("/work", answer(201, {"made": "отчёт"}, headers=[("X-Place", "here")]))
    task = ask(site, {"url": url, "json": {"month": "ноябрь"}})
    done = ended(site, task)

    assert (done["status"], done["attempt"], done["error_info"]) == ("COMPLETED", 1, None)
    result = done["result"]
    assert (result["status"], result["url"]) == (201, url)
    assert (result["body"], result["body_encoding"]) == ({"made": "отчёт"}, "json")
    assert result["headers"]["x-place"] == "here"
    assert (result["truncated"], result["headers_truncated"]) == (False, False)

    received = target.wait_for("/work")
    assert (received.method, received.json()) == ("POST", {"month": "ноябрь"})
    headers = received.headers
    assert (headers["task-id"], headers["task-attempt"]) == (str(task["id"]), "1")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
    expected = base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == headers["idempotency-key"]


def test_a_failure_that_may_pass_is_retried_with_the_same_token(
    site: Service, target: Target
) -> None:
    url = target.on("/flaky", in_turn(answer(500), answer(408), http_target.reset, answer()))
    task = ask(site, {"url": url, "method": "POST"}, backoff=AT_ONCE)
    done = ended(site, task)

    assert (done["status"], done["attempt"]) == ("COMPLETED", 4)
    asked = target.at("/flaky")
    assert [each.headers["task-attempt"] for each in asked] == ["1", "2", "3", "4"]
    assert len({each.headers["idempotency-key"] for each in asked}) == 1
    errors = [each["error"] for each in attempts(site, task)]
    assert errors[0] == 'TargetFailed: the target answered 500 Internal Server Error: {"ok":true}'
    assert errors[1].startswith("TargetFailed: the target answered 408")
    assert errors[2].startswith("NoAnswer: ")
    assert errors[3] is None
    # Each task has a token of its own.
    other = ask(site, {"url": target.url("/other")})
    ended(site, other)
    assert target.at("/other")[0].headers["idempotency-key"] != asked[0].headers["idempotency-key"]


def test_the_pause_that_the_target_asks_for_is_waited(site: Service, target: Target) -> None:
    busy = answer(503, b"", None, [("Retry-After", "2")])
    url = target.on("/busy", in_turn(busy, answer()))
    done = ended(site, ask(site, {"url": url}, backoff=AT_ONCE))

    assert (done["status"], done["attempt"]) == ("COMPLETED", 2)
    first, second = target.at("/busy")
    assert 2 <= second.at - first.at < 4


def test_what_will_not_pass_fails_at_once(site: Service, target: Target) -> None:
    for url, reason in (
        (
            target.on("/gone", answer(404, "no such\nreport", "text/plain")),
            "404 Not Found: no such r",
        ),
        (target.on("/moved", redirect("/work")), "the target answered 302 Found"),
        ("http://127.0.0.1:9/", "127.0.0.1 is no public address; HTTP_REQUEST_ALLOW can open it"),
        (target.url("/", "localhost").replace(str(target.port), "9"), "localhost is at "),
        ("http://2130706433:9/", "2130706433 is at 127.0.0.1, which is no public address"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254 is no public address"),
    ):
        done = ended(site, ask(site, {"url": url}))
        assert (done["status"], done["attempt"]) == ("FAILED", 1), done
        assert done["error_info"].startswith("PermanentError: ")
        assert reason in done["error_info"]


def test_attempts_end_and_the_last_error_stays(site: Service, target: Target) -> None:
    url = target.on("/down", answer(502, "no upstream", "text/plain"))
    done = ended(site, ask(site, {"url": url}, max_attempts=2, backoff=AT_ONCE))
    assert (done["status"], done["attempt"]) == ("FAILED", 2)
    assert done["error_info"] == "TargetFailed: the target answered 502 Bad Gateway: no upstream"


def test_a_long_body_is_cut_at_the_setting(site: Service, target: Target) -> None:
    url = target.on("/long", answer(body=b"\x00" * 5_000_000, kind="image/png"))
    result = ended(site, ask(site, {"url": url}))["result"]
    assert base64.b64decode(result["body"]) == b"\x00" * 1000
    assert (result["body_encoding"], result["truncated"]) == ("base64", True)


def test_connections_are_used_for_several_tasks(site: Service, target: Target) -> None:
    target.on("/many", answer())
    tasks = [ask(site, {"url": target.url("/many")}) for _ in range(20)]
    assert {ended(site, task)["status"] for task in tasks} == {"COMPLETED"}
    # One for each of the worker's two processes.
    assert len({each.connection for each in target.at("/many")}) <= 2


def test_the_time_of_the_request_and_that_of_the_attempt_both_hold(
    site: Service, target: Target
) -> None:
    url = target.on("/hang", http_target.hang)
    short = ask(site, {"url": url, "timeout_seconds": 0.5}, max_attempts=1)
    long = ask(site, {"url": url}, max_attempts=1, timeout_seconds=1)
    done = ended(site, short)
    assert (done["status"], done["error_info"]) == (
        "FAILED",
        "NoAnswer: no complete answer within 0.5 s",
    )
    done = ended(site, long)
    assert done["status"] == "FAILED"
    assert [each["outcome"] for each in attempts(site, done)] == ["TIMED_OUT"]
    started, finished = (
        datetime.fromisoformat(done[name]) for name in ("started_at", "completed_at")
    )
    assert (finished - started).total_seconds() < 3


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        ({}, "#/payload/url"),
        ({"url": "http://user:hunter2@example.com"}, "#/payload/url"),
        ({"url": "ftp://hunter2"}, "#/payload/url"),
        ({"url": "http://x", "headers": {"X-A/b": "hunter2"}}, "#/payload/headers/X-A~1b"),
        ({"url": "http://x", "headers": {"Authorization": "hunter2\n"}}, "#/payload/headers/Auth"),
        ({"url": "http://x", "success": [200, "hunter2"]}, "#/payload/success/1"),
        ({"url": "http://x", "json": 1, "body": "hunter2"}, "#/payload/body"),
        ({"url": "http://x", "verify": "hunter2"}, "#/payload/verify"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_where_it_is_wrong(
    site: Service, payload: dict[str, Any], pointer: str
) -> None:
    with site.client() as client:
        response = client.post(
            "/tasks/", json={"title": "x", "type": "http_request", "payload": payload}
        )
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].startswith(pointer)
    assert "hunter2" not in response.text


def test_the_type_is_listed_with_what_it_takes(site: Service) -> None:
    with site.client() as client:
        listed = {each["name"]: each for each in client.get("/task-types/").json()}
    own = listed["http_request"]
    assert own["defaults"]["max_attempts"] == 5
    assert own["payload_schema"]["properties"].keys() >= {
        *("method", "url", "headers", "json", "body"),
        *("timeout_seconds", "success", "follow_redirects"),
    }
    assert own["example"]["url"].startswith("https://")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_REQUEST_ALLOW", "internal,http://localhost"),
        ("HTTP_REQUEST_SECRET", "whsec_hunter2!"),
    ],
)
def test_a_setting_that_means_nothing_stops_api_and_worker_with_one_line(
    site: Service, name: str, value: str
) -> None:
    for command in (["uvicorn", "main:app"], ["celery", "-A", "app.worker.celery", "worker"]):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=servers.ROOT,
            env={"PATH": "", name: value, "DATABASE_URL": site.database_url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0
        line = done.stderr.strip().splitlines()[-1]
        assert line.startswith(f"The setting {name} is not valid: ")
        assert "Traceback" not in done.stderr
        assert "hunter2" not in done.stderr
