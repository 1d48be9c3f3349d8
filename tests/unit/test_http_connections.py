"""Connections of http_request: used again, closed when broken off, certificates checked."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from httpcore._synchronization import ThreadLock

from app.handlers import AttemptStopped
from app.handlers.http_request import client as clients
from app.handlers.http_request.network import TimedStream
from app.handlers.http_request.verdict import NoAnswer, TargetFailed
from tests import http_target
from tests.http_caller import Caller, caller
from tests.http_target import CERTIFICATE, Target, answer, in_turn, redirect
from tests.support import wait_for


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


def test_connections_are_used_again(call: Caller, target: Target) -> None:
    target.on("/bad", answer(500))
    target.on("/from", redirect("/to"))
    for path in ("/a", "/bad", "/from", "/b"):
        try:
            call(path, follow_redirects=True)
        except TargetFailed:
            continue
    assert len({each.connection for each in target.requests}) == 1


def test_a_connection_that_the_target_has_closed_is_not_used(call: Caller, target: Target) -> None:
    call("/a", method="POST")
    target.drop_connections()
    assert call("/b", method="POST")["status"] == 200
    assert target.requests[0].connection != target.requests[1].connection


def test_a_connection_that_closes_just_then_costs_a_safe_request_nothing(
    call: Caller, target: Target
) -> None:
    target.on("/flaky", in_turn(http_target.hang_up, answer()))
    call("/a")
    assert call("/flaky")["status"] == 200
    target.on("/flaky", in_turn(http_target.hang_up, answer()))
    # One that may change something is left to the task's own retry.
    with pytest.raises(NoAnswer, match="disconnected"):
        call("/flaky", method="POST")
    assert call("/flaky", method="POST")["status"] == 200


def test_a_target_that_hangs_up_on_a_new_connection_is_asked_once(
    call: Caller, target: Target
) -> None:
    target.on("/flaky", http_target.hang_up)
    with pytest.raises(NoAnswer):
        call("/flaky")
    assert len(target.requests) == 1


def test_nothing_of_one_task_reaches_the_next(call: Caller, target: Target) -> None:
    target.on("/login", answer(headers=[("Set-Cookie", "session=1234567; Path=/")]))
    assert call("/login")["headers"]["set-cookie"] == "**********"
    call("/next")
    assert "cookie" not in target.requests[-1].headers


def test_an_attempt_that_is_stopped_closes_its_connection(call: Caller, target: Target) -> None:
    target.on("/hang", http_target.hang_after_headers)

    def stop(*args: Any, **options: Any) -> None:
        target.wait_for("/hang")
        raise AttemptStopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TimedStream, "read", stop)
        with pytest.raises(AttemptStopped):
            call("/hang")
    wait_for(lambda: target.at("/hang")[0].closed_at, 5, "the target sees the connection closed")


def test_attempts_that_are_stopped_in_httpcores_own_bookkeeping_harm_no_later_one(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, stops = ThreadLock.__exit__, []

    def stop_once(self: ThreadLock, *args: Any) -> None:
        real(self, *args)
        if not stops:
            stops.append(self)
            raise AttemptStopped

    monkeypatch.setattr(ThreadLock, "__exit__", stop_once)
    # More often than there are connections, each of which would be taken for ever.
    for _ in range(12):
        stops.clear()
        with pytest.raises(AttemptStopped):
            call("/")
    assert call("/")["status"] == 200


def test_an_answer_whose_headers_never_end_is_given_up_before_its_time(
    call: Caller, target: Target
) -> None:
    began_at = time.monotonic()
    for start, block in (
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: of them\r\n" * 100),
    ):
        target.on("/endless", http_target.garbage(start, block))
        with pytest.raises(NoAnswer, match="the answer is not valid HTTP"):
            call("/endless")
    assert time.monotonic() - began_at < 10


def test_certificates_are_checked_against_the_host_of_the_url(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def resolve(host: str, *args: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host.endswith(".test") else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with http_target.target(tls=True) as secure:
        call.allow("127.0.0.1")
        clients._tls.cache_clear()
        with pytest.raises(NoAnswer, match="CERTIFICATE_VERIFY_FAILED"):
            call(secure.url("/", "target.test"))
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        clients._tls.cache_clear()
        call.allow("127.0.0.1")
        try:
            assert call(secure.url("/", "target.test"))["status"] == 200
            with pytest.raises(NoAnswer, match="Hostname mismatch"):
                call(secure.url("/", "other.test"))
            with pytest.raises(NoAnswer, match="mismatch"):
                call(secure.url("/"))
        finally:
            clients._tls.cache_clear()


def test_proxies_of_the_environment_play_no_part(
    call: Caller, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    call.allow("127.0.0.1")
    assert call("/")["status"] == 200
