"""The OpenAPI document: every route, every status code, every error body."""

from typing import Any

import httpx
import jsonschema_rs
import pytest

PROBLEM = "application/problem+json"
BODY = {"400", "408", "413", "415", "422"}
ROUTES = {
    ("get", "/"): {"200", "500"},
    ("get", "/health"): {"200", "500", "503"},
    ("get", "/health/live"): {"200", "500"},
    ("get", "/metrics"): {"200", "500"},
    ("post", "/tasks/"): {"201", "500", "503"} | BODY,
    ("post", "/tasks/broken"): {"201", "403", "500", "503"} | BODY,
    ("post", "/tasks/retry"): {"201", "403", "500", "503"} | BODY,
    ("get", "/tasks/"): {"200", "304", "422", "500", "503"},
    ("get", "/tasks/{task_id}"): {"200", "304", "404", "422", "500", "503"},
    ("put", "/tasks/{task_id}"): {"200", "404", "500", "503"} | BODY,
    ("delete", "/tasks/{task_id}"): {"204", "404", "408", "413", "422", "500", "503"},
    ("post", "/tasks/{task_id}/cancel"): {
        *("200", "202", "404", "408", "409", "413", "422", "500", "503")
    },
    ("post", "/tasks/{task_id}/retry"): {"200", "404", "408", "409", "413", "422", "500", "503"},
    ("get", "/tasks/{task_id}/attempts"): {"200", "404", "422", "500", "503"},
    ("get", "/tasks/{task_id}/events"): {"200", "404", "422", "500", "503"},
    ("get", "/tasks/{task_id}/logs"): {"200", "404", "422", "500", "503"},
    ("get", "/task-types/"): {"200", "500"},
}


@pytest.fixture(scope="module")
def document(idle_client: httpx.Client) -> dict[str, Any]:
    return idle_client.get("/openapi.json").json()


@pytest.fixture(scope="module")
def types(idle_client: httpx.Client) -> list[str]:
    return [each["name"] for each in idle_client.get("/task-types/").json()]


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    found = document
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_every_route_and_every_status_code_is_described(document: dict[str, Any]) -> None:
    described = {
        route: set(operation["responses"]) for route, operation in operations(document).items()
    }

    assert described == ROUTES


def test_every_error_is_a_problem_and_a_422_lists_its_errors(document: dict[str, Any]) -> None:
    for route, operation in operations(document).items():
        for status, response in operation["responses"].items():
            assert response["description"], route
            if status < "400":
                assert PROBLEM not in response.get("content", {})
                continue
            assert list(response["content"]) == [PROBLEM], (route, status)
            schema = resolve(document, response["content"][PROBLEM]["schema"])
            assert {"type", "title", "status", "detail", "instance"} <= set(schema["required"])
            assert ("errors" in schema["required"]) == (status == "422")


def test_every_reference_leads_somewhere_and_every_schema_is_used(
    document: dict[str, Any],
) -> None:
    references: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                references.add(value["$ref"].removeprefix("#/components/schemas/"))
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document)
    assert references == set(document["components"]["schemas"])


def test_a_change_has_no_defaults_that_a_generated_client_would_send(
    document: dict[str, Any],
) -> None:
    schema = document["components"]["schemas"]["TaskUpdate"]

    assert set(schema["properties"]) == {"title", "description", "priority"}
    assert not any("default" in field for field in schema["properties"].values())
    assert "required" not in schema
    assert schema["additionalProperties"] is False


def test_what_a_type_decides_has_no_default_either(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    backoff, task = schemas["BackoffIn"]["properties"], schemas["TaskCreate"]["properties"]
    assert {name for name, field in {**backoff, **task}.items() if "default" in field} == {"type"}
    assert schemas["BrokenTaskCreate"]["properties"]["priority"]["default"] == "MEDIUM"


def test_the_known_types_are_told(document: dict[str, Any], types: list[str]) -> None:
    task = document["components"]["schemas"]["TaskCreate"]

    named, _ = task["properties"]["type"]["anyOf"]
    assert named["enum"] == types
    _, by_type = task["allOf"]
    assert [each["title"] for each in by_type["oneOf"]] == types


def test_every_type_has_an_example_that_is_accepted(
    document: dict[str, Any], types: list[str], idle_client: httpx.Client
) -> None:
    content = document["paths"]["/tasks/"]["post"]["requestBody"]["content"]["application/json"]
    examples = content["examples"]
    validator = jsonschema_rs.validator_for({**content["schema"], **document})

    assert set(types) < set(examples)
    for name, example in examples.items():
        assert example["summary"]
        assert len(example["description"]) > 20
        assert validator.is_valid(example["value"]), name
        if name in types:
            assert example["value"]["type"] == name
        response = idle_client.post("/tasks/", json=example["value"])
        assert response.status_code == 201, response.text
        # This service has no worker; the next one to use its database might have.
        assert idle_client.delete(response.headers["location"]).status_code == 204


@pytest.mark.parametrize(
    ("body", "is_valid"),
    [
        ({}, True),
        ({"payload": {}}, True),
        ({"payload": {"seconds": 1}}, False),
        ({"type": "slow", "payload": {"seconds": 1}}, True),
        ({"type": "slow", "payload": {"seconds": -1}}, False),
        ({"type": "slow", "payload": None}, True),
        ({"type": None, "payload": None, "backoff": None}, True),
        ({"type": "nothing"}, False),
        ({"type": "http_request"}, False),
        ({"type": "http_request", "payload": {"url": "https://example.com/"}}, True),
        ({"max_attempts": 100}, True),
        ({"max_attempts": 101}, False),
        ({"timeout_seconds": 3600}, True),
        ({"timeout_seconds": 3601}, False),
        ({"delay_seconds": 5, "run_at": None}, True),
        ({"delay_seconds": 5, "run_at": "2001-01-01T00:00:00Z"}, False),
        ({"backoff": {"factor": 0.5}}, False),
        ({"backoff": {"factor": 2, "jitter": None}}, True),
    ],
    ids=str,
)
def test_the_document_allows_what_the_service_takes_and_nothing_else(
    document: dict[str, Any], idle_client: httpx.Client, body: dict[str, Any], is_valid: bool
) -> None:
    schema = {"$ref": "#/components/schemas/TaskCreate", **document}
    body = {"title": "a", **body}

    assert jsonschema_rs.validator_for(schema).is_valid(body) is is_valid
    assert (idle_client.post("/tasks/", json=body).status_code == 201) is is_valid


def test_routes_have_names_to_read(document: dict[str, Any]) -> None:
    summaries = [operation["summary"] for operation in operations(document).values()]

    assert all(summaries)
    assert len(set(summaries)) == len(summaries)
