"""That values of secret headers do not come back, in whatever form a target repeats them."""

import base64
import html
import json
import time
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from app.handlers import registry
from app.handlers.http_request.redaction import Redaction, conceal, is_secret

CONCEALED = "**********"
# With everything in it that is written differently somewhere.
SECRET = 'p/w"+<&>\\ é=%'


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "authorization", "Cookie", "X-Api-Key", "apikey", "X-Auth-Token"),
        *("X-Amz-Security-Token", "Client-Secret", "X-Password", "Session-Id", "X-Signature"),
        *("X-Goog-Credential", "Set-Cookie", "Api_Key", "X-CSRF-Token"),
    ],
)
def test_headers_that_are_named_like_secrets_are_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("Content-Type", "Accept", "WWW-Authenticate", "Proxy-Authenticate", "Location"),
        *("Access-Control-Allow-Credentials", "Idempotency-Key", "Retry-After"),
    ],
)
def test_other_headers_are_not(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(SECRET).replace("/", "\\/"),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        html.escape(SECRET),
        html.escape(SECRET, quote=False),
        repr(SECRET.encode("latin-1")),
        base64.b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_found_in_every_form(form: str) -> None:
    redaction = Redaction({"X-Token": SECRET})
    assert CONCEALED in redaction.text(f"before {form} after")
    assert form.strip("\"'b=") not in redaction.text(f"before {form} after")


def test_data_is_searched_too() -> None:
    redaction = Redaction({"X-Token": "gehéim"})
    for data in ("gehéim".encode(), "gehéim".encode("latin-1")):
        assert redaction.data(b"\xff" + data + b"\xff") == b"\xff**********\xff"


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("Authorization", "Bearer abcd.efgh", ["Bearer abcd.efgh", "abcd.efgh"]),
        ("Authorization", "Token  abcdefgh", ["abcdefgh"]),
        (
            "Authorization",
            "Basic " + base64.b64encode(b"user:pass:word").decode(),
            [base64.b64encode(b"user:pass:word").decode(), "user:pass:word", "pass:word"],
        ),
        ("Cookie", "a=1; session=abcdef; b=x", ["abcdef", "a=1; session=abcdef; b=x"]),
        ("Authorization", 'Digest username="me", response="0123456789"', ["0123456789"]),
    ],
)
def test_parts_of_a_secret_are_secret(name: str, value: str, parts: list[str]) -> None:
    redaction = Redaction({name: value})
    for part in parts:
        assert redaction.text(f"({part})") == "(**********)", part


def test_what_is_not_secret_stays() -> None:
    redaction = Redaction({"X-Trace": "abcdefgh", "Authorization": "Bearer secret-1"})
    text = "abcdefgh Bearer user"
    assert redaction.text(text) == text
    assert Redaction({"X-Trace": "abcdefgh"}).json({"a": ["abcdefgh"]}) == {"a": ["abcdefgh"]}


def test_a_very_short_secret_is_replaced_only_where_it_stands_alone() -> None:
    redaction = Redaction({"X-Token": "ab"})
    assert redaction.text("ab") == CONCEALED
    assert redaction.text("about") == "about"
    assert redaction.json(["ab", {"k": "cabin"}]) == [CONCEALED, {"k": "cabin"}]


def test_json_is_searched_in_names_texts_and_numbers() -> None:
    redaction = Redaction({"X-Pin-Token": "123456"})
    value = {"123456": [123456, 123456.5, "x123456", True, None, 7], "ok": {"n": "123456"}}
    assert redaction.json(value) == {
        CONCEALED: [CONCEALED, CONCEALED, f"x{CONCEALED}", True, None, 7],
        "ok": {"n": CONCEALED},
    }


def test_a_secret_that_is_cut_off_does_not_show_its_beginning() -> None:
    redaction = Redaction({"X-Token": "topsecret"})
    assert redaction.without_cut_secret("abc topsec") == "abc "
    assert redaction.without_cut_secret("abc t") == "abc "
    assert redaction.without_cut_secret("abc") == "abc"
    assert redaction.data_without_cut_secret(b"abc tops") == b"abc "


def test_answers_headers_are_concealed_by_name_and_by_value() -> None:
    redaction = Redaction({"Authorization": "Bearer abcdefgh"})
    headers = [("set-cookie", "a=b"), ("x-echo", "you sent abcdefgh"), ("x-a", "b")]
    assert redaction.headers(headers) == [
        ("set-cookie", CONCEALED),
        ("x-echo", f"you sent {CONCEALED}"),
        ("x-a", "b"),
    ]


# -- What the API shows of a payload ------------------------------------------------------------


def shown(**payload: Any) -> dict[str, Any]:
    return registry.shown("http_request", payload)


def test_a_payload_is_shown_without_its_secrets() -> None:
    token = "Bearer abcdefgh"
    assert shown(
        url="http://example.com/?t=abcdefgh",
        headers={"authorization": token, "X-Trace": "1", "x-note": "is abcdefgh"},
        json={"abcdefgh": ["abcdefgh", 1]},
        body=None,
    ) == {
        "url": f"http://example.com/?t={CONCEALED}",
        "headers": {"authorization": CONCEALED, "X-Trace": "1", "x-note": f"is {CONCEALED}"},
        "json": {CONCEALED: [CONCEALED, 1]},
        "body": None,
    }


def test_a_payload_without_secrets_is_shown_as_it_is() -> None:
    for payload in ({"url": "http://x"}, {"url": "http://x", "headers": {"a": "b"}, "json": [1]}):
        assert shown(**payload) == payload


def test_a_payload_that_fits_no_more_is_shown_without_raising() -> None:
    for headers in (None, ["Authorization: abcdefgh"], {"authorization": ["abcdefgh"]}):
        payload = shown(url="http://x", headers=headers)
        assert payload.keys() == {"url", "headers"}
        assert "abcdefgh" not in str(payload)


def test_of_a_payload_that_takes_long_to_look_through_nothing_is_shown() -> None:
    secrets = [f"s3cret{number}" for number in range(1500)]
    cookie = ";".join(f"c={secret}" for secret in secrets)
    payload = {"headers": {"Cookie": cookie, "Accept": "*"}, "body": "a" * 200_000 + secrets[7]}
    began = time.process_time()
    assert conceal(payload) == {"headers": "**********", "body": "**********"}
    assert time.process_time() - began < 0.5

    # What comes back is looked through by a worker, who has the time.
    redaction = Redaction(payload["headers"])
    began = time.process_time()
    assert redaction.json([payload["body"], 7]) == ["a" * 200_000 + "**********", 7]
    assert time.process_time() - began < 10


def test_of_a_large_payload_with_few_secrets_all_else_is_shown() -> None:
    headers = {"Authorization": "Bearer abcdefgh", "Accept": "*"}
    payload = {"headers": headers, "json": ["x" * 60_000, "my abcdefgh", 1.5, None] * 4}
    began = time.process_time()
    shown = conceal(payload)
    assert time.process_time() - began < 0.5
    assert shown["json"] == ["x" * 60_000, "my **********", 1.5, None] * 4
    assert shown["headers"] == {"Authorization": "**********", "Accept": "*"}
