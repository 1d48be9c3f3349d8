"""The OpenAPI document: every route, every status code, every error body."""

from typing import Any

import httpx
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
    ("get", "/tasks/"): {"200", "422", "500", "503"},
    ("get", "/tasks/{task_id}"): {"200", "404", "422", "500", "503"},
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


def test_routes_have_names_to_read(document: dict[str, Any]) -> None:
    summaries = [operation["summary"] for operation in operations(document).values()]

    assert all(summaries)
    assert len(set(summaries)) == len(summaries)
