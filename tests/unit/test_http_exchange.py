"""http_request against a real target over real connections, in this process."""

import base64
import hashlib
import hmac
import json
import logging
import socket
import time
from collections.abc import Iterator

import pytest

from app.handlers import PermanentError, RetryLater
from app.handlers.http_request.verdict import NoAnswer, TargetFailed
from tests import http_target
from tests.http_caller import TOKEN, Caller, caller
from tests.http_target import Target, answer, redirect


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with http_target.target() as own:
        yield own


@pytest.fixture
def call(target: Target, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    target.behaviours.clear()
    target.requests.clear()
    with caller(target, monkeypatch) as own:
        yield own


# -- What is sent -------------------------------------------------------------------------------


def test_a_request_carries_what_was_asked_for_and_who_asks(call: Caller, target: Target) -> None:
    done = call("/work?a=b", attempt=3, json={"n": 1, "т": "ж"}, headers={"X-Own": "é"})

    [received] = target.requests
    assert (received.method, received.path) == ("POST", "/work?a=b")
    assert received.json() == {"n": 1, "т": "ж"}
    headers = received.headers
    assert headers["content-type"] == "application/json"
    assert headers["x-own"] == "é"
    assert (headers["task-id"], headers["task-attempt"]) == ("7", "3")
    assert headers["idempotency-key"] == TOKEN
    assert headers["user-agent"].startswith("task-manager/")
    assert headers["host"] == f"127.0.0.1:{target.port}"
    assert "webhook-id" not in headers
    assert done == {
        "status": 200,
        "url": target.url("/work?a=b"),
        "headers": done["headers"],
        "headers_truncated": False,
        "body": {"ok": True},
        "body_encoding": "json",
        "truncated": False,
        "duration_seconds": done["duration_seconds"],
    }
    assert done["headers"]["content-type"] == "application/json"
    assert 0 <= done["duration_seconds"] < 5


def test_what_a_client_gives_takes_the_place_of_what_is_usual(call: Caller, target: Target) -> None:
    given = {
        "content-type": "text/csv",
        "USER-AGENT": "me",
        "accept": "a/b",
        "Accept-Encoding": "x",
    }
    call("/", body="a;b", method="PUT", headers=given)
    [received] = target.requests
    assert (received.method, received.body) == ("PUT", b"a;b")
    for name, value in given.items():
        assert received.headers[name.lower()] == value


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_every_method_is_sent_without_a_body_too(call: Caller, target: Target, method: str) -> None:
    assert call("/", method=method)["status"] == 200
    assert (target.requests[0].method, target.requests[0].body) == (method, b"")


def test_a_request_is_signed_when_there_is_a_secret(call: Caller, target: Target) -> None:
    call.configure(http_request_secret="whsec_" + base64.b64encode(b"key").decode())
    for body in ("тело", None):
        call("/", body=body)
        received = target.requests[-1]
        timestamp = received.headers["webhook-timestamp"]
        assert abs(int(timestamp) - time.time()) < 10
        assert received.headers["webhook-id"] == TOKEN
        signed = f"{TOKEN}.{timestamp}.".encode() + received.body
        expected = base64.b64encode(hmac.digest(b"key", signed, hashlib.sha256)).decode()
        assert received.headers["webhook-signature"] == f"v1,{expected}"


# -- What comes back ----------------------------------------------------------------------------


def test_a_long_body_is_cut_and_marked(call: Caller, target: Target) -> None:
    call.configure(http_request_max_body_bytes=100)
    done = call(target.on("/long", answer(body="x" * 10_000_000, kind="text/plain")))
    assert (done["body"], done["truncated"]) == ("x" * 100, True)


def test_success_is_what_the_client_says(call: Caller, target: Target) -> None:
    target.on("/busy", answer(503, "no", "text/plain", [("Retry-After", "9")]))
    target.on("/moved", redirect("http://[nonsense"))
    assert call("/busy", success=[503])["body"] == "no"
    assert call("/moved", success=["3xx"], follow_redirects=True)["status"] == 302
    with pytest.raises(PermanentError, match="200 OK"):
        call("/", success=[201])


def test_failures_are_told_apart(call: Caller, target: Target) -> None:
    target.on("/gone", answer(410, "no\nmore", "text/plain"))
    target.on("/bad", answer(500, {"error": "x"}))
    target.on("/later", answer(429, b"", None, [("Retry-After", "120")]))
    with pytest.raises(PermanentError, match=r"^the target answered 410 Gone: no more$"):
        call("/gone")
    with pytest.raises(TargetFailed, match=r'500 Internal Server Error: {"error": "x"}$'):
        call("/bad")
    with pytest.raises(RetryLater, match=r"429 Too Many Requests$") as later:
        call("/later")
    assert later.value.after_seconds == 120
    call.configure(http_request_max_retry_after_seconds=60)
    with pytest.raises(RetryLater) as later:
        call("/later")
    assert later.value.after_seconds == 60


def test_a_target_that_is_not_there_is_a_network_error(call: Caller) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        call.allow(f"127.0.0.1:{port}")
        with pytest.raises(NoAnswer, match="refused"):
            call(f"http://127.0.0.1:{port}/")


def test_a_target_that_is_not_public_is_never_asked(call: Caller, target: Target) -> None:
    call.allow("")
    with pytest.raises(PermanentError, match=r"^127\.0\.0\.1 is no public address"):
        call("/")
    with pytest.raises(PermanentError, match="localhost is at"):
        call(target.url("/", "localhost"))
    assert target.requests == []
    call.allow("localhost")
    # By its name, whatever addresses it has.
    assert call(target.url("/", "localhost"))["status"] == 200


# -- Secrets ------------------------------------------------------------------------------------


def test_an_echo_of_a_secret_appears_nowhere(
    call: Caller, target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    basic = base64.b64encode(b"me:hunter2-hunter2").decode()
    headers = {"Authorization": f"Basic {basic}", "X-Token": "to/ken-tök"}
    target.on("/echo", http_target.echo)
    echoed = call("/echo?q=to%2Fken-t%C3%B6k", headers=headers)

    def echo_badly(exchange: http_target.Exchange) -> None:
        text = json.dumps(exchange.received.headers) + basic + "hunter2-hunter2"
        answer(400, text, "text/plain")(exchange)

    target.on("/bad", echo_badly)
    with pytest.raises(PermanentError) as failure:
        call("/bad", headers=headers)
    target.on("/raw", http_target.raw(b"HTTP/1.1 200 OK\r\nBad Header to/ken-t\xf6k\r\n\r\n"))
    with pytest.raises(NoAnswer) as garbled:
        call("/raw", headers=headers)

    everything = f"{json.dumps(echoed)} {failure.value} {garbled.value} {caplog.text}"
    for secret in (basic, "hunter2-hunter2", "to/ken", "to%2Fken", "ken-t"):
        assert secret not in everything
    assert "**********" in json.dumps(echoed)
    assert "**********" in str(failure.value)
