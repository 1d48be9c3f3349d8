"""Task types: what POST /tasks/ takes for each, and what GET /task-types/ tells of them."""

import json
from typing import Any

import httpx
import jsonschema_rs
import pytest

from tests.api.answers import JSON, assert_names, assert_problem, nothing_stored, resolve
from tests.api.own_types import PHRASE
from tests.service import Service

BUILT_IN = {
    "simulated_work",
    "http_request",
    "broken",
    "retry",
    "slow",
    "hang",
    "exit",
    "memory",
}


@pytest.fixture(scope="module")
def types(idle_client: httpx.Client) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in idle_client.get("/task-types/").json()}


@pytest.mark.parametrize("body", [{}, {"type": None}, {"type": "simulated_work"}])
def test_a_task_that_names_no_type_is_simulated_work(
    idle_client: httpx.Client, body: dict[str, Any]
) -> None:
    task = idle_client.post("/tasks/", json={"title": "a", **body}).json()

    assert (task["type"], task["payload"]) == ("simulated_work", {})


def test_the_body_of_an_older_client_means_what_it_meant(idle_client: httpx.Client) -> None:
    body = {"title": "Отчёт", "description": None, "priority": "LOW"}

    task = idle_client.post("/tasks/", json=body).json()

    assert task | body == task
    assert (task["type"], task["status"], task["max_attempts"]) == ("simulated_work", "NEW", 1)


@pytest.mark.parametrize(
    "name",
    ["", "Slow", "slow ", "nothing", "__proto__", "простой", "x" * 100_000, "\0", "\ud800", "a/b"],
    ids=ascii,
)
def test_an_unknown_type_is_refused_with_the_known_ones(
    idle: Service, idle_client: httpx.Client, name: str
) -> None:
    with nothing_stored(idle):
        response = idle_client.post(
            "/tasks/",
            content=json.dumps({"title": "a", "type": name}),
            headers={"content-type": "application/json"},
        )

    (error,) = assert_names(response, "#/type")["errors"]
    assert all(known in error["detail"] for known in BUILT_IN)


@pytest.mark.parametrize("value", [1, True, [], {}, ["slow"]])
def test_a_type_that_is_no_text_is_named(idle_client: httpx.Client, value: Any) -> None:
    assert_names(idle_client.post("/tasks/", json={"title": "a", "type": value}), "#/type")


@pytest.mark.parametrize("value", [1, True, "{}", [], [{}]])
def test_a_payload_that_is_no_object_is_named(idle_client: httpx.Client, value: Any) -> None:
    assert_names(idle_client.post("/tasks/", json={"title": "a", "payload": value}), "#/payload")


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_field_that_a_built_in_type_does_not_know_is_named(
    idle: Service, idle_client: httpx.Client, types: dict[str, Any], name: str
) -> None:
    payload = {**types[name]["example"], "лишнее": 1}

    with nothing_stored(idle):
        response = idle_client.post(
            "/tasks/", json={"title": "a", "type": name, "payload": payload}
        )

    assert_names(response, "#/payload/лишнее")


@pytest.mark.parametrize(
    ("payload", "pointers"),
    [
        ({"lines": 1}, ["#/payload/lines"]),
        ({"lines": [{"article": "a", "count": 1}, 7]}, ["#/payload/lines/1"]),
        ({"lines": [{"article": "", "count": 0}]}, ["article", "count"]),
        ({"labels": {"a/b": "x", "~": "y", "~1": "z"}}, ["a~1b", "~0", "~01"]),
        ({"labels": {"100%": "x", "a b#": [], "%41": None}}, ["100%25", "a%20b%23", "%2541"]),
        ({"labels": {"": "x", "0": "x", "ключ": "x"}}, ["", "0", "ключ"]),
        ({"labels": {'"\\': "x", "\n\t": "x", "\u2028": "x"}}, ["%22%5C", "%0A%09", "\u2028"]),
        ({"labels": {"к" * 1000: "x"}}, ["#/payload/labels"]),
        ({"deliver_to": {"city": 7}}, ["#/payload/deliver_to/city", "#/payload/deliver_to"]),
        ({"deliver_to": [{"city": "a"}, {"city": 7}]}, ["1/city", "#/payload/deliver_to"]),
        ({"итого": "много"}, ["#/payload/итого"]),
        ({"total": 1}, ["#/payload/total"]),
        ({"": 1, "a": {"b": 1}}, ["#/payload/", "#/payload/a"]),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_every_fault_in_a_payload_is_pointed_at(
    typed: Service, typed_client: httpx.Client, payload: dict[str, Any], pointers: list[str]
) -> None:
    body = {"title": "a", "type": "order", "payload": payload}

    with nothing_stored(typed):
        response = typed_client.post("/tasks/", json=body)

    found = {error["pointer"] for error in assert_problem(response, 422)["errors"]}
    for pointer in found:
        resolve(pointer, body)
    assert len(found) == len(pointers)
    for expected in pointers:
        assert any(
            pointer == expected if expected.startswith("#") else pointer.endswith("/" + expected)
            for pointer in found
        ), (expected, found)


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        ({"lines": [{"article": "a"}]}, "#/payload/lines/0/count"),
        ({"deliver_to": [{}]}, "#/payload/deliver_to/0/city"),
    ],
)
def test_what_is_missing_is_named_where_it_should_be(
    typed_client: httpx.Client, payload: dict[str, Any], pointer: str
) -> None:
    response = typed_client.post(
        "/tasks/", json={"title": "a", "type": "order", "payload": payload}
    )

    assert pointer in {error["pointer"] for error in assert_problem(response, 422)["errors"]}


def test_a_validator_that_fails_itself_is_no_fault_of_the_service(
    typed: Service, typed_client: httpx.Client
) -> None:
    body = {"title": "a", "type": "gullible", "payload": {"value": "секрет"}}

    response = typed_client.post("/tasks/", json=body)

    assert_names(response, "#/payload")
    assert "секрет" not in response.text
    assert "Gullible raised KeyError" in typed.log("api")
    assert "секрет" not in typed.log("api")


def test_a_type_of_ones_own_runs_with_its_defaults(
    typed: Service, typed_client: httpx.Client
) -> None:
    payload = {"lines": [{"article": "чай", "count": 2}], "labels": {"тест": 1}}

    task = typed.create(title="Заказ", type="order", payload=payload)

    assert (task["priority"], task["queue"], task["max_attempts"]) == ("HIGH", "high", 4)
    assert task["backoff"] == {
        "initial_seconds": 5,
        "factor": 3,
        "max_seconds": 50,
        "jitter": False,
    }
    assert task["timeout_seconds"] == 20
    done = typed.wait_until(task["id"], "COMPLETED", "FAILED")
    assert done["result"] == {"принято": ["чай"]}
    assert done["payload"] == payload
    assert (done["progress"], done["progress_note"]) == (1, PHRASE)
    lines = typed_client.get(f"/tasks/{task['id']}/logs").json()
    assert [line["message"] for line in lines] == [PHRASE]


def test_a_priority_that_is_given_wins_over_the_types(typed_client: httpx.Client) -> None:
    body = {"title": "a", "type": "order", "priority": "MEDIUM", "delay_seconds": 1000}

    task = typed_client.post("/tasks/", json=body).json()

    assert (task["priority"], task["queue"]) == ("MEDIUM", "medium")
    assert typed_client.delete(f"/tasks/{task['id']}").status_code == 204


@pytest.mark.parametrize(
    ("name", "field", "wrong", "right"),
    [
        ("slow", "seconds", ["1", True, None, -1, 1e400, [], 86_401], [0, 1, 0.5, 3.0]),
        ("memory", "megabytes", ["1", True, 1.5, 0, 16_385, 2**64], [1, 2.0]),
        ("exit", "times", ["1", False, -1, 1001], [0, 1000, 1.0]),
        ("retry", "retry_count", ["3", True, 0, 21], [1, 20, 3.0]),
        ("hang", "deaf", ["true", 0, 1, 1.0, None], [True, False]),
        ("broken", "force_error", ["yes", 0, None], [True, False]),
    ],
)
def test_what_makes_trouble_takes_exactly_what_its_schema_says(
    idle: Service,
    idle_client: httpx.Client,
    types: dict[str, Any],
    name: str,
    field: str,
    wrong: list[Any],
    right: list[Any],
) -> None:
    schema = jsonschema_rs.validator_for(types[name]["payload_schema"])
    waits = {"title": "a", "type": name, "delay_seconds": 100_000}
    with nothing_stored(idle):
        for value in wrong:
            body = json.dumps({**waits, "payload": {field: value}})
            assert_names(
                idle_client.post("/tasks/", content=body, headers=JSON), f"#/payload/{field}"
            )
            assert value == float("inf") or not schema.is_valid({field: value})
    for value in right:
        response = idle_client.post("/tasks/", json={**waits, "payload": {field: value}})
        assert response.status_code == 201, response.text
        assert schema.is_valid({field: value})


@pytest.mark.parametrize("path", ["/task-types", "/task-types/"])
def test_every_built_in_type_is_listed_by_name(idle_client: httpx.Client, path: str) -> None:
    response = idle_client.get(path)

    assert response.status_code == 200
    names = [each["name"] for each in response.json()]
    assert names == sorted(BUILT_IN)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_type_is_described_so_that_a_client_can_use_it(
    types: dict[str, dict[str, Any]], name: str
) -> None:
    listed = types[name]

    assert len(listed["description"]) > 20
    schema = listed["payload_schema"]
    jsonschema_rs.meta.validate(schema)
    assert all(field["description"] for field in schema.get("properties", {}).values())
    assert jsonschema_rs.validator_for(schema).is_valid(listed["example"])
    defaults, limits = listed["defaults"], listed["limits"]
    assert defaults["priority"] == "MEDIUM"
    assert 1 <= defaults["max_attempts"] <= limits["max_attempts"] == 100
    assert set(defaults["backoff"]) == {"initial_seconds", "factor", "max_seconds", "jitter"}
    assert 0 < defaults["timeout_seconds"] <= limits["timeout_seconds"] == 3600
    assert limits["payload_bytes"] == limits["result_bytes"] == 262_144
    assert limits["delay_seconds"] >= 365 * 86_400


def test_a_type_of_ones_own_is_listed_as_the_others_are(typed_client: httpx.Client) -> None:
    listed = {each["name"]: each for each in typed_client.get("/task-types/").json()}["order"]

    assert listed["description"] == "Принять заказ и ответить, что принято."
    assert "итого" in listed["payload_schema"]["properties"]
    assert listed["defaults"]["priority"] == "HIGH"
    assert listed["example"]["lines"][0]["article"] == "чай"
    schemas = typed_client.get("/openapi.json").json()["components"]["schemas"]
    assert {"PayloadOf.order", "Line.order", "Address.order"} <= set(schemas)
