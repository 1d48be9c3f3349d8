"""What an answer means, how long Retry-After asks to wait, and what a signature covers."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app import __version__
from app.domain.targets import signing_key
from app.handlers import PermanentError, RetryLater, TaskContext
from app.handlers.http_request import signing
from app.handlers.http_request.verdict import TargetFailed, pause_seconds, raise_failure

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def http_date(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], None),
        (["120"], 120),
        ([" 7 "], 7),
        (["0"], 0),
        (["86400"], 3600),
        (["9" * 5000], 3600),
        (["-1"], None),
        (["1.5"], None),
        (["1e3"], None),
        (["soon"], None),
        ([""], None),
        (["٣"], None),
        ([http_date(90)], 90),
        ([http_date(-90)], 0),
        ([http_date(10**6)], 3600),
        # The two obsolete forms (RFC 9110, section 5.6.7).
        (["Tuesday, 24-Nov-26 12:01:00 GMT"], 60),
        (["Tue Nov 24 12:01:00 2026"], 60),
        (["Tue, 99 Nov 2026 12:01:00 GMT"], None),
        (["Tue, 24 Nov 99999999999 12:01:00 GMT"], None),
        (["soon", "5", "10"], 10),
    ],
)
def test_the_pause_that_retry_after_asks_for(values: list[str], seconds: float | None) -> None:
    assert pause_seconds(values, NOW, 3600) == seconds


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with pytest.raises(TargetFailed, match=f"the target answered {status} Busy: come back"):
        raise_failure(status, "Busy", "come\r\n back", [], 3600)
    with pytest.raises(RetryLater, match=f"the target answered {status}$") as later:
        raise_failure(status, "", None, ["30"], 10)
    assert later.value.after_seconds == 10


@pytest.mark.parametrize("status", [100, 204, 301, 302, 304, 400, 401, 404, 409, 422, 451, 600])
def test_what_will_not_pass_is_not(status: int) -> None:
    with pytest.raises(PermanentError, match=f"the target answered {status} No: because"):
        raise_failure(status, "No", "because", ["30"], 3600)


def test_of_a_long_body_a_short_piece_is_told() -> None:
    with pytest.raises(PermanentError) as failure:
        raise_failure(400, "No\x00\x1b" * 100, "x\n" * 1000, [], 1)
    assert len(str(failure.value)) < 300
    assert "\n" not in str(failure.value)


# -- Signatures ---------------------------------------------------------------------------------


def test_the_signature_is_that_of_standard_webhooks() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    headers = signing.signature_headers(
        signing_key(secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", body, lambda: 1614265330.9
    )
    # The example of the specification's own libraries.
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_signature_by_an_independent_computation() -> None:
    headers = signing.signature_headers(b"plain text", "id", "тело".encode(), lambda: 12)
    block = b"plain text".ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in block) + "id.12.тело".encode()).digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in block) + inner).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(outer).decode()}"
    assert hmac.digest(b"plain text", "id.12.тело".encode(), "sha256") == outer


def test_without_a_secret_nothing_is_signed() -> None:
    assert signing.signature_headers(signing_key(""), "id", b"") == {}


def test_a_target_is_told_which_task_and_attempt_asks() -> None:
    assert signing.task_headers(TaskContext(12, 3, 1, "token")) == {
        "Task-Id": "12",
        "Task-Attempt": "3",
        "Idempotency-Key": "token",
    }
    assert f"task-manager/{__version__}" == signing.USER_AGENT
