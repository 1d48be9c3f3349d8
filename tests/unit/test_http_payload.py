"""What http_request lets a client ask for, and that a refusal never repeats a value."""

import json
from typing import Any

import pytest

from app.handlers import registry
from app.handlers.http_request.payload import HttpRequest
from app.handlers.registry import PayloadError

URL = "https://example.com/work"


def valid(**payload: Any) -> HttpRequest:
    task_type = registry.get("http_request")
    assert task_type is not None
    model = task_type.validated({"url": URL, **payload})
    assert isinstance(model, HttpRequest)
    return model


def places(**payload: Any) -> list[tuple[str | int, ...]]:
    with pytest.raises(PayloadError) as refused:
        valid(**payload)
    return [path for path, _ in refused.value.faults]


def test_what_is_left_out_has_a_usual_meaning() -> None:
    plain = valid()
    assert (plain.http_method, plain.content(), plain.timeout_seconds) == ("GET", None, 30)
    assert [plain.is_success(status) for status in (199, 200, 299, 300, 404)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert not plain.follow_redirects


def test_a_body_makes_it_a_post_unless_it_says_otherwise() -> None:
    assert valid(json={"a": [1, "ж"]}).content() == '{"a":[1,"ж"]}'.encode()
    assert valid(json={}).http_method == "POST"
    assert valid(body="текст").content() == "текст".encode()
    assert valid(body="x", method="put").http_method == "PUT"


def test_a_json_null_is_a_value_and_no_body_is_none() -> None:
    assert valid(json=None).content() == b"null"
    assert valid(body=None).content() is None


def test_success_takes_codes_and_ranges_in_several_forms() -> None:
    model = valid(success=[404, "410", "200-204", "3xx", "5XX"])
    fitting = [status for status in range(100, 600) if model.is_success(status)]
    assert fitting == [*range(200, 205), *range(300, 400), 404, 410, *range(500, 600)]


@pytest.mark.parametrize(
    "item", [99, 1000, True, 200.5, None, "", "2x", "300-200", "xx", "200-", [200], "0xx", "٢٠٠"]
)
def test_what_is_no_status_is_refused_where_it_stands(item: object) -> None:
    assert places(success=[200, item]) == [("success", 1)]


@pytest.mark.parametrize("value", ["2xx", 200, [], None, ["2xx"] * 101, {"a": 1}])
def test_success_must_be_a_list(value: object) -> None:
    assert places(success=value) == [("success",)]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "gopher://example.com",
        "http:///path",
        "http://",
        "http:example.com",
        "http://user@example.com",
        "http://user:password@example.com",
        "http://@example.com",
        "http://:@example.com",
        "http://example.com\\@other.example",
        "http://exa mple.com",
        "http://example.com/a b",
        "http://example.com/\r\nHost: x",
        "http://example.com/\x7f",
        " http://example.com",
        "http://example.com:0",
        "http://example.com:65536",
        "http://example.com:-1",
        "http://example.com:a",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://%31%32%37.0.0.1/",
        "http://example..com",
        f"http://{'a' * 64}.com",
        f"http://{'a.' * 130}com",
        f"http://example.com/{'a' * 8192}",
        7,
        None,
        ["http://example.com"],
    ],
)
def test_a_url_that_is_not_to_be_asked_for_is_refused(url: object) -> None:
    assert places(url=url) == [("url",)]


@pytest.mark.parametrize(
    "url",
    [
        "HTTP://EXAMPLE.com",
        "https://пример.рф/путь?q=ж#part",
        "http://example.com.:8080/@me?a=b@c",
        "http://[2001:4860:4860::8888]:443/",
        "http://my_service/",
        "http://2130706433/",
    ],
)
def test_unusual_urls_are_fine(url: str) -> None:
    assert valid(url=url).url == url


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a\n", "a/b"])
def test_a_header_name_is_a_token(name: str) -> None:
    assert places(headers={name: "x"}) == [("headers", name)]


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "content-length", "Transfer-Encoding", "connection", "Upgrade", "TE", "Trailer"),
        *("Keep-Alive", "Proxy-Authorization", "proxy-connection", "Expect"),
        *("Task-Id", "TASK-ATTEMPT", "Idempotency-Key"),
        *("webhook-id", "Webhook-Timestamp", "webhook-signature"),
    ],
)
def test_headers_that_are_not_the_clients_are_refused(name: str) -> None:
    assert places(headers={"x": "y", name: "secret"}) == [("headers", name)]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\r", "a\x00b", "\x1b", "\x7f", "ж", "€"])
def test_a_header_value_is_one_line_of_latin_1(value: str) -> None:
    if "\x00" not in value:
        assert valid(headers={"x": "é ÿ\t~"}).headers == {"x": "é ÿ\t~"}
    assert places(headers={"X-Name": value}) == [("headers", "X-Name")]


def test_blanks_around_a_header_value_are_no_part_of_it() -> None:
    assert valid(headers={"x": " \ty "}).headers == {"x": "y"}


def test_a_header_is_given_once_and_all_of_them_are_limited() -> None:
    assert places(headers={"X-a": "1", "x-A": "2"}) == [("headers", "X-a"), ("headers", "x-A")]
    valid(headers={"x": "y" * 16_000})
    assert places(headers={"x": "y" * 16_384}) == [("headers",)]
    assert places(headers={"x": 7}) == [("headers", "x")]
    assert places(headers=["x: y"]) == [("headers",)]


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        ({"json": 1, "body": "x"}, "body"),
        ({"json": None, "body": "x"}, "body"),
        ({"body": 7}, "body"),
        ({"method": "TRACE"}, "method"),
        ({"method": 7}, "method"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": 3601}, "timeout_seconds"),
        ({"timeout_seconds": "30"}, "timeout_seconds"),
        ({"timeout_seconds": True}, "timeout_seconds"),
        ({"follow_redirects": "yes"}, "follow_redirects"),
        ({"json_value": 1}, "json_value"),
        ({"verify": False}, "verify"),
    ],
)
def test_a_field_that_does_not_fit_is_named(payload: dict[str, Any], place: str) -> None:
    assert places(**payload) == [(place,)]


def test_a_refusal_never_repeats_a_value() -> None:
    secret = "hunter2-hunter2"
    for payload in (
        {"headers": {"Authorization": f"{secret}\n", "Host": secret, "X": f"{secret}ж"}},
        {"url": f"http://user:{secret}@example.com/"},
        {"url": f"http://example.com:{secret}/"},
        {"url": f"http://[{secret}]/"},
        {"url": f"nothing://{secret}"},
        {"success": [secret]},
        {"method": secret},
        {"timeout_seconds": secret},
        {"json": secret, "body": secret},
    ):
        with pytest.raises(PayloadError) as refused:
            valid(**payload)
        assert secret not in f"{refused.value} {refused.value.faults}"


def test_the_schema_says_what_is_checked_and_that_json_has_no_default() -> None:
    schema = HttpRequest.model_json_schema()
    assert schema["required"] == ["url"]
    assert "default" not in schema["properties"]["json"]
    assert schema["properties"]["success"]["default"] == ["2xx"]
    assert json.dumps(schema)
