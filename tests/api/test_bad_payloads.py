"""Payloads that a hostile client sends. None makes a 5xx, or leaves anything behind."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.answers import JSON, assert_names, assert_problem, nothing_stored, resolve
from tests.service import Service

MOST_BYTES = 262_144


@pytest.fixture
def nothing_happens(typed: Service) -> Iterator[None]:
    """No task appears or changes, and the API's log holds no stack trace."""
    with nothing_stored(typed):
        yield


@pytest.fixture(scope="module")
def sizes(start_service) -> Service:
    """A service with a small limit on payloads."""
    return start_service(MAX_PAYLOAD_BYTES="1024", TASK_MODULES="tests.api.open_type")


def send(client: httpx.Client, payload: str, name: str = "open") -> httpx.Response:
    """Create a task with a payload that is JSON already."""
    body = f'{{"title":"a","type":"{name}","delay_seconds":100000,"payload":{payload}}}'
    return client.post("/tasks/", content=body.encode(), headers=JSON)


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("name", ["open", "order", "simulated_work", "http_request"])
@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        ('{"a":"\\u0000"}', "#/payload/a"),
        ('{"a":[1,{"b":"x\\u0000y"}]}', "#/payload/a/1/b"),
        ('{"a":"\\ud800"}', "#/payload/a"),
        ('{"a":["\\udfff\\udbff"]}', "#/payload/a/0"),
        ('{"\\u0000":1}', "#/payload"),
        ('{"a":{"x\\u0000":1}}', "#/payload/a"),
        ('{"a":{"\\udc00":1}}', "#/payload/a"),
        ('{"\\ud83d":{}}', "#/payload"),
        ('{"a":NaN}', "#/payload/a"),
        ('{"a":[Infinity]}', "#/payload/a/0"),
        ('{"a":-Infinity}', "#/payload/a"),
        ('{"a":1e999}', "#/payload/a"),
        ('{"a":{"b":-1e400}}', "#/payload/a/b"),
        ('{"a":' + "[" * 101 + "]" * 101 + "}", "#/payload"),
        ('{"a":' * 101 + "1" + "}" * 101, "#/payload"),
        ('{"a":' + "[" * 450 + '"\\u0000"' + "]" * 450 + "}", "#/payload"),
    ],
    ids=lambda value: value[:30],
)
def test_what_cannot_be_stored_is_pointed_at(
    typed_client: httpx.Client, name: str, payload: str, pointer: str
) -> None:
    response = send(typed_client, payload, name)

    assert_names(response, pointer)
    resolve(pointer, {"payload": json.loads(payload)})


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize(
    "payload",
    [
        "[" * 100_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '{"a":' + "9" * 5_000 + "}",
        '{"a":-' + "9" * 100_000 + "}",
        '{"a":1' + "0" * 4_500 + "}",
        '{"a":"\x00"}',
        '{"a":0x10}',
        '{"a":01}',
        '{"a":+1}',
        '{"a":.5}',
        '{"a":1,}',
        '{"a":"\\u12"}',
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_no_parser_should_take_is_refused(typed_client: httpx.Client, payload: str) -> None:
    assert_problem(send(typed_client, payload), 400, 422)


@pytest.mark.parametrize(
    "payload",
    [
        '{"__proto__":{"admin":true},"constructor":{"prototype":{}},"__class__":"x"}',
        '{"":{"":""},"$ref":"#/x","$where":"1","@type":"x","%s":"%n","{0}":"{title}"}',
        '{"\'; DROP TABLE tasks; --":"\\"\\\\\'"}',
        '{"ключ с пробелом":"значение 🫖","\\u202e":"\\ufffe\\uffff"}',
        '{"a":' + "9" * 4_000 + "}",
        '{"a":-9223372036854775809,"b":18446744073709551616}',
        '{"c":5e-324,"d":0.1,"e":123456789.123456789,"f":-0.0,"g":2.0,"h":1e22}',
        '{"a":null,"b":false,"c":[],"d":{},"e":[[[[]]]]}',
        '{"a":' + "[" * 98 + "]" * 98 + "}",
        '{"id":1,"status":"COMPLETED","title":null,"payload":{"payload":{}}}',
        "{" + ",".join(f'"{number}":{number}' for number in range(10_000)) + "}",
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_is_only_strange_is_kept_as_it_was_sent(
    typed_client: httpx.Client, payload: str
) -> None:
    response = send(typed_client, payload)

    assert response.status_code == 201, response.text
    task = typed_client.get(response.headers["location"]).json()
    assert task["payload"] == json.loads(payload)
    assert typed_client.delete(response.headers["location"]).status_code == 204


def test_the_largest_fractions_come_back_as_the_same_numbers(typed_client: httpx.Client) -> None:
    sent = [1e308, -1.7976931348623157e308, 1.5e300]

    task = send(typed_client, json.dumps({"a": sent})).json()

    assert [float(number) for number in task["payload"]["a"]] == sent
    assert typed_client.delete(f"/tasks/{task['id']}").status_code == 204


def filled(size: int, text: str = "x") -> str:
    """Return a payload of this many bytes of JSON, without spaces."""
    room = size - len('{"a":""}')
    count = room // len(text.encode())
    return '{"a":"' + text * count + "y" * (room - count * len(text.encode())) + '"}'


@pytest.mark.parametrize("text", ["x", "ж", "🫖"])
def test_a_payload_may_have_as_many_bytes_as_the_limit_says(sizes: Service, text: str) -> None:
    with sizes.client() as client:
        fits, exceeds = filled(1024, text), filled(1025, text)
        assert (len(fits.encode()), len(exceeds.encode())) == (1024, 1025)
        assert send(client, fits).status_code == 201
        # Spaces between do not count, and neither does the way a letter is written.
        assert send(client, json.dumps(json.loads(fits), indent=400)).status_code == 201

        with nothing_stored(sizes):
            response = send(client, exceeds)

        (error,) = assert_names(response, "#/payload")["errors"]
        assert re.search(r"\b1025 bytes\b.*\b1024\b", error["detail"])
        listed = {each["name"]: each for each in client.get("/task-types/").json()}
        assert listed["open"]["limits"]["payload_bytes"] == 1024


def test_the_default_limit_of_a_payload_is_256_kibibytes(typed_client: httpx.Client) -> None:
    fits = send(typed_client, filled(MOST_BYTES))
    assert fits.status_code == 201
    assert len(typed_client.get(fits.headers["location"]).json()["payload"]["a"]) > 262_000
    assert typed_client.delete(fits.headers["location"]).status_code == 204
    assert_names(send(typed_client, filled(MOST_BYTES + 1)), "#/payload")


def test_very_many_faults_make_a_small_answer(typed_client: httpx.Client) -> None:
    labels = {f"ключ {number} " + "k" * 100: "x" for number in range(1_500)}
    body: dict[str, Any] = {"title": "a", "type": "order", "payload": {"labels": labels}}

    response = typed_client.post("/tasks/", json=body)

    errors = assert_problem(response, 422)["errors"]
    assert len(errors) == 50
    assert len(response.content) < 60_000
    for error in errors:
        assert resolve(error["pointer"], body) == "x"


def test_a_payload_that_grows_when_stored_is_measured_as_it_is_answered(
    sizes: Service,
) -> None:
    # To PostgreSQL 1e308 is a number of 309 digits, and so it comes back.
    with sizes.client() as client:
        assert send(client, '{"a":[1e308,1e308,1e308]}').status_code == 201
        assert_names(send(client, '{"a":[1e308,1e308,1e308,1e308]}'), "#/payload")
