"""Redirects that http_request follows: checked like a first URL, without secrets elsewhere."""

import base64
import hashlib
import hmac
from collections.abc import Iterator

import pytest

from app.handlers import PermanentError
from tests import http_target
from tests.http_caller import TOKEN, Caller, caller
from tests.http_target import Target, redirect


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


def test_a_redirect_is_not_followed_unless_asked_for(call: Caller, target: Target) -> None:
    target.on("/from", redirect("/to"))
    with pytest.raises(PermanentError, match="302 Found"):
        call("/from")
    done = call("/from", follow_redirects=True)
    assert (done["status"], done["url"]) == (200, target.url("/to"))
    assert [each.path for each in target.requests] == ["/from", "/from", "/to"]


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
def test_method_and_body_follow_a_redirect_as_its_status_says(
    call: Caller, target: Target, status: int, method: str, then: str
) -> None:
    target.on("/from", redirect("/to", status))
    call.configure(http_request_secret="key")
    call("/from", method=method, body="text", follow_redirects=True)
    received = target.requests[-1]
    assert (received.method, received.path) == (then, "/to")
    kept = then == method
    assert received.body == (b"text" if kept else b"")
    assert ("content-type" in received.headers) is kept
    signed = f"{TOKEN}.{received.headers['webhook-timestamp']}.".encode() + received.body
    expected = base64.b64encode(hmac.digest(b"key", signed, hashlib.sha256)).decode()
    assert received.headers["webhook-signature"] == f"v1,{expected}"


def test_secrets_do_not_follow_to_another_origin_and_do_not_come_back(
    call: Caller, target: Target
) -> None:
    secrets = {"Authorization": "Bearer abcdefgh", "Cookie": "a=b", "X-Api-Key": "12345678"}
    call.configure(http_request_secret="key")
    with http_target.target() as other:
        call.allow(f"127.0.0.1:{target.port},127.0.0.1:{other.port}")
        target.on("/from", redirect("/same", 307))
        target.on("/same", redirect(other.url("/other"), 307))
        other.on("/other", redirect(target.url("/back"), 307))
        call("/from", json=1, headers={**secrets, "X-Plain": "yes"}, follow_redirects=True)
        hops = [*target.requests[:2], *other.requests, target.requests[2]]

    assert [each.path for each in hops] == ["/from", "/same", "/other", "/back"]
    sensitive = {"authorization", "cookie", "x-api-key", "webhook-signature", "webhook-id"}
    assert [len(sensitive & each.headers.keys()) for each in hops] == [5, 5, 0, 0]
    assert all(each.headers["x-plain"] == "yes" and each.json() == 1 for each in hops)
    assert hops[2].headers["host"] == f"127.0.0.1:{other.port}"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("ftp://127.0.0.1/", "must begin with http"),
        ("file:///etc/passwd", "must begin with http"),
        ("http://user:secret@127.0.0.1/", "must not contain a user name"),
        ("//user@127.0.0.1/", "must not contain a user name"),
        ("http://[nonsense", "must have a valid host"),
        ("http://x/%0d\\", "must be a valid URL"),
        ("http://127.0.0.1:99999/", "must have a port"),
        ("http://127.0.0.2/", r"127\.0\.0\.2 is no public address"),
        ("http://169.254.169.254/latest/meta-data/", r"169\.254\.169\.254 is no public address"),
        ("http://2130706433:9/", r"is at 127\.0\.0\.1, which is no public address"),
        ("//localhost:1/", "localhost is at"),
        ("/from", "more than 10 times"),
    ],
)
def test_a_redirect_is_checked_like_a_first_url(
    call: Caller, target: Target, location: str, reason: str
) -> None:
    target.on("/from", redirect(location))
    with pytest.raises(PermanentError, match=reason) as refused:
        call("/from", follow_redirects=True)
    assert "secret" not in str(refused.value)
