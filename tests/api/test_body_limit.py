"""The body limit by itself, where waiting for the real time-out would take half a minute."""

import asyncio
import json
from typing import Any

import pytest

from app.api import limits

SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/tasks/",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
}


def answer(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a client gets that sends these messages and then nothing more."""
    sent: list[dict[str, Any]] = []
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def never(*_: Any) -> None:
        raise AssertionError("the request must not get through")

    asyncio.run(limits.BodyLimit(never, max_bytes=10)(SCOPE, receive, send))
    return sent


def test_a_body_that_stops_coming_is_a_408_and_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "_SILENCE_SECONDS", 0.05)

    start, body = answer({"type": "http.request", "body": b"{", "more_body": True})

    headers = dict(start["headers"])
    assert start["status"] == 408
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"
    assert json.loads(body["body"])["status"] == 408


def test_an_endless_body_is_refused_at_the_limit() -> None:
    chunk = {"type": "http.request", "body": b"12345", "more_body": True}

    start, _ = answer(chunk, chunk, chunk)

    assert start["status"] == 413


def test_a_client_that_leaves_is_not_answered() -> None:
    assert answer({"type": "http.disconnect"}) == []
