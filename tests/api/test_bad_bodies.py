"""Bodies that a hostile client sends. None makes a 5xx, or leaves anything behind."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.answers import JSON, assert_names, assert_problem, nothing_stored
from tests.service import Service

WAYS = ["/tasks/", "/tasks/broken", "/tasks/retry", "PUT"]
DEEP = 100_000
MIB = 1_048_576


@pytest.fixture(scope="module")
def neighbours(idle: Service) -> None:
    """Two tasks at rest, the newest ones."""
    for _ in range(2):
        idle.wait_until(idle.create()["id"], "PENDING")


@pytest.fixture(autouse=True)
def nothing_happens(idle: Service, neighbours: None) -> Iterator[None]:
    """No task appears or changes, the API lives, and its log holds no stack trace."""
    with nothing_stored(idle):
        yield


def send(client: httpx.Client, way: str, content: Any, **headers: str) -> httpx.Response:
    """Create a task with a body, or put it to the newest one."""
    if way == "PUT":
        newest = client.get("/tasks/?limit=1").json()[0]["id"]
        return client.put(f"/tasks/{newest}", content=content, headers=JSON | headers)
    return client.post(way, content=content, headers=JSON | headers)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"title":""}', "#/title"),
        ('{"title":" \\t\\n\\r"}', "#/title"),
        ('{"title":"\\u00a0\\u2003\\u3000"}', "#/title"),
        (json.dumps({"title": "x" * 256}), "#/title"),
        (json.dumps({"title": "😀" * 256}), "#/title"),
        (json.dumps({"title": "x" * 1_000_000}), "#/title"),
        ('{"title":null}', "#/title"),
        ('{"title":1}', "#/title"),
        ('{"title":true}', "#/title"),
        ('{"title":["a"]}', "#/title"),
        ('{"title":{"a":"b"}}', "#/title"),
        ('{"title":NaN}', "#/title"),
        ('{"title":"a\\u0000b"}', "#/title"),
        ('{"title":"\\ud800"}', "#/title"),
        ('{"title":"a\\udfffb"}', "#/title"),
        ('{"title":"\\udc00\\ud800"}', "#/title"),
        ('{"title":{"\\ud800":["\\udc00",{"\\u0000":"\\u0000"}]}}', "#/title"),
        ('{"title":"a","description":"\\u0000"}', "#/description"),
        ('{"title":"a","description":"\\ud83d"}', "#/description"),
        ('{"title":"a","description":1}', "#/description"),
        ('{"title":"a","description":[]}', "#/description"),
        ('{"title":"a","description":-Infinity}', "#/description"),
        ('{"title":"a","priority":""}', "#/priority"),
        ('{"title":"a","priority":"medium"}', "#/priority"),
        ('{"title":"a","priority":"HIGH "}', "#/priority"),
        ('{"title":"a","priority":"HIGH\\u0000"}', "#/priority"),
        ('{"title":"a","priority":"\\ud800"}', "#/priority"),
        ('{"title":"a","priority":null}', "#/priority"),
        ('{"title":"a","priority":2}', "#/priority"),
        ('{"title":"a","priority":["HIGH"]}', "#/priority"),
        ('{"title":"a","priority":1e400}', "#/priority"),
        ('{"title":"a","status":"COMPLETED"}', "#/status"),
        ('{"title":"a","id":1}', "#/id"),
        ('{"title":"a","__proto__":{}}', "#/__proto__"),
        ('{"title":"a","":1}', "#/"),
        ('{"title":"a","a/b~c":1}', "#/a~1b~0c"),
        ('{"title":"a","\\u0000":1}', "#/%00"),
        ('{"title":"a","100% #1":1}', "#/100%25%20%231"),
        ('{"title":"a","x":{"\\ud800":["\\udc00"]}}', "#/x"),
        ('{"title":"a","x":1e400}', "#/x"),
        ('{"title":"a","поле":1}', "#/поле"),
    ],
    ids=lambda value: value[:40].encode("unicode_escape").decode(),
)
def test_a_wrong_field_is_named(
    idle_client: httpx.Client, way: str, text: str, pointer: str
) -> None:
    assert_names(send(idle_client, way, text.encode()), pointer)


def test_a_missing_title_is_named(idle_client: httpx.Client) -> None:
    assert_names(send(idle_client, "/tasks/", b'{"description":"a"}'), "#/title")
    assert_names(send(idle_client, "/tasks/", b"{}"), "#/title")


@pytest.mark.parametrize(
    "value",
    [
        "0", "21", "-1", "21.0", '"3"', "true", "null", "3.5", "1e400", "-1e400", "NaN", "[]", "{}",
        str(2**63), str(2**64), "9" * 4000, '"\\ud800"',
    ],
)  # fmt: skip
def test_a_wrong_retry_count_is_named(idle_client: httpx.Client, value: str) -> None:
    body = f'{{"title":"a","retry_count":{value}}}'.encode()

    assert_names(send(idle_client, "/tasks/retry", body), "#/retry_count")


@pytest.mark.parametrize("value", ['"yes"', '"true"', "1", "0", "null", "[]", '"\\u0000"', "NaN"])
def test_a_wrong_force_error_is_named(idle_client: httpx.Client, value: str) -> None:
    body = f'{{"title":"a","force_error":{value}}}'.encode()

    assert_names(send(idle_client, "/tasks/broken", body), "#/force_error")


@pytest.mark.parametrize(
    ("way", "field"),
    [("/tasks/", "retry_count"), ("/tasks/", "force_error"), ("/tasks/retry", "force_error")],
)
def test_a_field_of_another_route_is_unknown(
    idle_client: httpx.Client, way: str, field: str
) -> None:
    assert_names(send(idle_client, way, f'{{"title":"a","{field}":1}}'.encode()), f"#/{field}")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b'[{"title":"a"}]', b'"title"', b"1", b"null", b"true", b"NaN", b"-Infinity",
        b"{", b"}", b"{]", b'{"title"}', b'{"title":}', b'{"title":"a",}', b'{"title":"a"}}',
        b"{'title':'a'}", b'{title:"a"}', b'{"title":"a"} // comment', b'{"title":"a\x00b"}',
        b'{"title":"a\nb"}', b'{"title":"\\x41"}', b'{"title":"\\ud8"}', b'\x00{"title":"a"}',
        b"title=a", b"<title>a</title>", b'{"title":"a"', b'{"\\ud800":1,"title":"a"}',
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(
    idle_client: httpx.Client, way: str, content: bytes
) -> None:
    body = assert_problem(send(idle_client, way, content), 400, 422)

    for error in body.get("errors", []):
        assert (error["in"], error["pointer"]) == ("body", "#")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "content",
    [
        b'{"title":"\xff\xfe"}',
        b'{"title":"\xc3"}',
        b'{"title":"\xed\xa0\x80"}',
        b'{"title":"\xc0\x80"}',
        '{"title":"ж"}'.encode("cp1251"),
        '{"title":"a"}'.encode("utf-16"),
        '{"title":"a"}'.encode("utf-16-le"),
        '{"title":"a"}'.encode("utf-16-be"),
        '{"title":"a"}'.encode("utf-32"),
    ],
)
def test_what_is_not_utf_8_is_refused(idle_client: httpx.Client, way: str, content: bytes) -> None:
    assert_problem(send(idle_client, way, content), 400)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "content",
    [
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b'{"title":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"title":"a","x":' + b'{"x":' * 500 + b"1" + b"}" * 501,
        b'{"title":"a","x":' + b"9" * 100_000 + b"}",
    ],
    ids=["open", "lists", "objects", "title", "unknown", "number"],
)
def test_depth_and_size_of_json_do_no_harm(
    idle_client: httpx.Client, way: str, content: bytes
) -> None:
    assert_problem(send(idle_client, way, content), 400, 422)


def test_the_answer_to_very_many_wrong_fields_stays_small(idle_client: httpx.Client) -> None:
    content = json.dumps({"title": "a"} | {f"{number:x}": 1 for number in range(80_000)})

    response = send(idle_client, "/tasks/", content.encode())

    assert len(assert_problem(response, 422)["errors"]) == 50
    assert len(response.content) < 20_000


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB])
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_above_one_mebibyte_is_too_large(
    idle_client: httpx.Client, way: str, size: int, chunked: bool
) -> None:
    content = b'{"title":"a","description":"' + b"x" * (size - 30) + b'"}'
    chunks = (content[start : start + 65_536] for start in range(0, size, 65_536))

    response = send(idle_client, way, chunks if chunked else content)

    assert_problem(response, 413)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "content_type",
    [
        "", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data",
        "multipart/form-data; boundary=x", "application/jsonp", "application/xml", "json", ";",
        "application/json, text/plain", "\u00ff\u00fe", "a" * 10_000, "text/x+json", "*/*",
    ],
)  # fmt: skip
def test_a_body_that_does_not_say_it_is_json_is_refused(
    idle_client: httpx.Client, way: str, content_type: str
) -> None:
    headers = {"content-type": content_type.encode("latin-1")}

    response = send(idle_client, way, b'{"title":"a"}', **headers)

    assert len(assert_problem(response, 415)["detail"]) < 300


def test_a_body_without_a_content_type_is_refused(idle_client: httpx.Client) -> None:
    assert_problem(idle_client.post("/tasks/", content=b'{"title":"a"}'), 415)
    assert_problem(idle_client.post("/tasks/"), 415)
