"""Secrets of http_request's headers, looked for everywhere: API, logs at DEBUG, Redis, events."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from tests import http_target
from tests.http_target import Exchange, answer, in_turn, redirect
from tests.service import FINAL, Service
from tests.support import wait_for

PASSWORD = "hunter2-hunter2"
BASIC = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
HEADERS = {
    "Authorization": f"Basic {BASIC}",
    "X-Api-Key": "key/of+the/target",
    "Cookie": "theme=dark; session=s3ss10n-s3ss10n",
}
# No part of any of these may be seen anywhere.
TRACES = [BASIC[:12], PASSWORD[:10], "key/of+the", "key%2Fof", "s3ss10n-s3s"]


def echo_and_fail(exchange: Exchange) -> None:
    """Answer with an error that has all headers in its reason, headers and body."""
    text = json.dumps(exchange.received.headers)
    headers = [("X-Echo", exchange.received.headers["x-api-key"]), ("Retry-After", "0")]
    answer(503, f"{text} {PASSWORD}", "text/plain", headers)(exchange)


@contextmanager
def recorded_events(redis_url: str) -> Iterator[list[dict[str, Any]]]:
    """Record every event that Celery's processes send, as Flower sees them."""
    events: list[dict[str, Any]] = []
    is_over = threading.Event()
    with Celery(broker=redis_url) as app:

        def record() -> None:
            with app.connection_for_read() as connection:
                receiver = app.events.Receiver(connection, handlers={"*": events.append})
                while not is_over.is_set():
                    try:
                        receiver.capture(limit=None, timeout=0.3, wakeup=False)
                    except TimeoutError:
                        continue

        thread = threading.Thread(target=record)
        thread.start()
        try:
            yield events
        finally:
            is_over.set()
            thread.join(10)


def everything_in(redis_url: str) -> str:
    """Return all keys and values of a Redis database."""
    with redis.Redis.from_url(redis_url) as client:
        found = []
        for key in client.keys("*"):
            match client.type(key):
                case b"list":
                    found.append(client.lrange(key, 0, -1))
                case b"hash":
                    found.append(client.hgetall(key))
                case b"string":
                    found.append(client.get(key))
                case b"set":
                    found.append(client.smembers(key))
        return repr(found)


def test_a_secret_header_is_seen_by_the_target_and_nobody_else(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = {"LOG_LEVEL": "DEBUG", "WORKER_CONCURRENCY": "1", "HTTP_REQUEST_ALLOW": "127.0.0.1"}
    site = Service(database_url, redis_url, tmp_path, settings)
    with http_target.target() as target, recorded_events(redis_url) as events:
        try:
            site.start_api()
            urls = [
                target.on("/echo", http_target.echo),
                target.on("/fails", in_turn(echo_and_fail, echo_and_fail, http_target.echo)),
                target.on("/refuses", answer(403, f"no {PASSWORD}", "text/plain")),
                target.on("/garbles", http_target.raw(f"HTTP/1.1 {BASIC}\r\n\r\n".encode())),
                target.on("/sends", redirect(f"http://10.0.0.1/{PASSWORD}?{BASIC}")),
                target.on("/hangs", http_target.hang),
            ]
            seen = []
            with site.client() as client:
                for url in urls:
                    body = {
                        "title": "a secret task",
                        "type": "http_request",
                        "payload": {
                            "url": url,
                            "headers": HEADERS,
                            "follow_redirects": True,
                            "timeout_seconds": 0.5,
                        },
                        "max_attempts": 3,
                        "backoff": {"initial_seconds": 0, "jitter": False},
                    }
                    seen.append(client.post("/tasks/", json=body))
                    # One that is refused is not repeated either.
                    headers = {**HEADERS, "Host": "x"}
                    body["payload"] = {"url": url, "headers": headers}
                    seen.append(client.post("/tasks/", json=body))
                    assert seen[-1].status_code == 422
                tasks = [each.json()["id"] for each in seen if each.status_code == 201]
                assert len(tasks) == len(urls)
                # The messages wait in Redis now.
                in_redis = everything_in(redis_url)
                assert "a secret task" in in_redis

                worker = ("celery", "-A", "app.worker.celery", "worker", "--loglevel=debug")
                site.start("worker", *worker, "--hostname=worker@test")
                ends = [site.wait_until(task, *FINAL)["status"] for task in tasks]
                assert ends == ["COMPLETED", "COMPLETED", "FAILED", "FAILED", "FAILED", "FAILED"]
                for task in tasks:
                    for what in ("", "/attempts", "/events", "/logs"):
                        seen.append(client.get(f"/tasks/{task}{what}"))
                    seen.append(client.put(f"/tasks/{task}", json={"priority": "HIGH"}))
                    seen.append(client.post(f"/tasks/{task}/cancel"))
                seen.append(client.get("/tasks/"))
                seen.append(client.post(f"/tasks/{tasks[2]}/retry"))
                site.wait_until(tasks[2], "FAILED")
                seen += [client.get(path) for path in ("/openapi.json", "/metrics", "/health")]
            wait_for(lambda: len(finished(events)) >= len(urls), 10, "the events have come")
        finally:
            site.close()
        in_redis += everything_in(redis_url)

    received = target.at("/echo")[0].headers
    assert {name: received[name.lower()] for name in HEADERS} == HEADERS
    places = {
        "API": "".join(f"{each.headers}{each.text}" for each in seen),
        "API's log": site.log("api"),
        "worker's log": site.log("worker"),
        "Redis": in_redis,
        "events": repr(events),
    }
    for trace in TRACES:
        assert [name for name, text in places.items() if trace in text] == []
    # They were looked for where they would have been.
    assert "**********" in places["API"]
    assert "DEBUG" in places["worker's log"]
    assert "RetryLater: the target answered 503" in places["worker's log"]
    assert "**********" in places["worker's log"]
    assert "**********" in places["events"]


def finished(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in events if each["type"] in {"task-succeeded", "task-failed"}]
