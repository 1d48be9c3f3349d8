"""How often, with which pauses and for how long: max_attempts, backoff and timeout_seconds."""

from typing import Any

import httpx
import pytest

from tests.api.answers import JSON, assert_names, nothing_stored
from tests.service import Service

OF_ORDER = {"initial_seconds": 5, "factor": 3, "max_seconds": 50, "jitter": False}
WAITS = {"title": "a", "type": "order", "delay_seconds": 100_000}


def create(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post("/tasks/", json={**WAITS, **fields})
    assert response.status_code == 201, response.text
    return response.json()


@pytest.mark.parametrize("count", [1, 100, 7.0])
def test_attempts_may_be_from_1_to_100(typed_client: httpx.Client, count: float) -> None:
    assert create(typed_client, max_attempts=count)["max_attempts"] == count


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {}),
        ({"initial_seconds": 0}, {"initial_seconds": 0}),
        ({"factor": 1.5}, {"factor": 1.5}),
        ({"max_seconds": 604_800}, {"max_seconds": 604_800}),
        ({"jitter": True, "factor": 100}, {"jitter": True, "factor": 100}),
        ({"jitter": None, "factor": None, "max_seconds": 1}, {"max_seconds": 1}),
    ],
)
def test_of_a_backoff_in_part_the_rest_is_the_types(
    typed_client: httpx.Client, given: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert create(typed_client, backoff=given)["backoff"] == {**OF_ORDER, **changed}


@pytest.mark.parametrize("seconds", [0.001, 1, 3600, 5e-324, 1e-310])
def test_a_time_limit_may_be_anything_above_zero_up_to_the_services_own(
    typed_client: httpx.Client, seconds: float
) -> None:
    assert create(typed_client, timeout_seconds=seconds)["timeout_seconds"] == seconds


def test_null_is_as_good_as_leaving_out(typed_client: httpx.Client) -> None:
    names = ("payload", "max_attempts", "backoff", "timeout_seconds", "run_at", "description")

    task = create(typed_client, **dict.fromkeys(names))

    assert (task["max_attempts"], task["backoff"], task["timeout_seconds"]) == (4, OF_ORDER, 20)
    assert (task["payload"], task["description"]) == ({}, None)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("max_attempts", ["0", "101", "-1", "1.5", '"3"', "true", "[]", "{}", "NaN", "1e999"]),
        ("max_attempts", [str(2**31), str(2**63), str(2**64), "9" * 4000, '"\\ud800"']),
        ("timeout_seconds", ["0", "-1", "-0.0", "3600.001", "1e999", "-1e999", "NaN", "Infinity"]),
        ("timeout_seconds", ['"5"', "true", "[]", "{}", "9" * 4000, '"\\u0000"']),
        ("delay_seconds", ["-0.001", "31622400.1", "1e999", "NaN", '"5"', "true", "[]", "9" * 400]),
        ("backoff", ["1", '"fast"', "true", "[]", "NaN"]),
        ("backoff/initial_seconds", ["-1", "604801", "1e999", "NaN", '"1"', "true", "[]"]),
        ("backoff/factor", ["0.99", "0", "-2", "100.5", "1e308", "NaN", '"2"', "true"]),
        ("backoff/max_seconds", ["-1", "604801", "Infinity", '"1"', "false", "{}"]),
        ("backoff/jitter", ["1", "0", '"true"', "[]", "NaN"]),
        ("backoff/initial", ["1"]),
        ("backoff/__proto__", ["{}"]),
    ],
    ids=str,
)
def test_what_is_out_of_range_is_named(
    idle: Service, idle_client: httpx.Client, field: str, values: list[str]
) -> None:
    with nothing_stored(idle):
        for value in values:
            name, _, inner = field.partition("/")
            given = f'{{"{inner}":{value}}}' if inner else value
            body = f'{{"title":"a","{name}":{given}}}'

            response = idle_client.post("/tasks/", content=body.encode(), headers=JSON)

            assert_names(response, f"#/{field}")


def test_everything_that_is_wrong_is_named_at_once(idle_client: httpx.Client) -> None:
    wrong = {"type": "slow", "payload": {"seconds": -1}, "timeout_seconds": 3601}

    response = idle_client.post("/tasks/", json={"title": "a", **wrong})

    assert_names(response, "#/payload/seconds", "#/timeout_seconds")


def test_the_services_own_time_limit_holds_for_all(start_service) -> None:
    service = start_service(TIME_LIMIT_SECONDS="10", TASK_MODULES="tests.api.own_types")
    with service.client() as client:
        assert service.create()["timeout_seconds"] == 10
        # The type says 20.
        assert service.create(type="order")["timeout_seconds"] == 10
        assert service.create(timeout_seconds=10)["timeout_seconds"] == 10
        assert_names(
            client.post("/tasks/", json={"title": "a", "timeout_seconds": 10.5}),
            "#/timeout_seconds",
        )
        listed = {each["name"]: each for each in client.get("/task-types/").json()}
        limit = client.get("/openapi.json").json()["components"]["schemas"]["TaskCreate"]

    assert listed["order"]["defaults"]["timeout_seconds"] == 10
    assert listed["order"]["limits"]["timeout_seconds"] == 10
    assert limit["properties"]["timeout_seconds"]["anyOf"][0]["maximum"] == 10


@pytest.mark.parametrize("way", ["/tasks/broken", "/tasks/retry"])
@pytest.mark.parametrize(
    "field",
    ["type", "payload", "max_attempts", "backoff", "timeout_seconds", "run_at", "delay_seconds"],
)
def test_the_documented_routes_of_trouble_take_only_what_they_took(
    idle_client: httpx.Client, way: str, field: str
) -> None:
    assert_names(idle_client.post(way, json={"title": "a", field: None}), f"#/{field}")


def test_an_attempt_that_takes_longer_than_it_may_fails_and_is_tried_again(typed: Service) -> None:
    task = typed.create(
        type="slow",
        payload={"seconds": 60},
        timeout_seconds=0.3,
        max_attempts=2,
        backoff={"initial_seconds": 0},
    )

    failed = typed.wait_until(task["id"], "FAILED", "COMPLETED")

    assert (failed["status"], failed["attempt"]) == ("FAILED", 2)
    assert "0.3 s" in failed["error_info"]
