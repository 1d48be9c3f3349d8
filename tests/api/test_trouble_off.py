"""TROUBLE_TYPES=false: no task makes trouble on purpose, and everything else works."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api.answers import assert_names, assert_problem, nothing_stored
from tests.service import Service
from tests.support import wait_for

TROUBLE = ["broken", "exit", "hang", "memory", "retry", "slow"]


@pytest.fixture(scope="module")
def peaceful(start_service) -> Service:
    return start_service(workers=1, TROUBLE_TYPES="false", SIMULATED_WORK_SECONDS="0")


@pytest.fixture
def client(peaceful: Service) -> Iterator[httpx.Client]:
    with peaceful.client() as client:
        yield client


def test_the_types_are_gone(client: httpx.Client) -> None:
    names = {each["name"] for each in client.get("/task-types/").json()}

    assert {"simulated_work", "http_request"} <= names
    assert not names & set(TROUBLE)
    document = client.get("/openapi.json").json()
    assert not any(name.endswith(tuple(TROUBLE)) for name in document["components"]["schemas"])


@pytest.mark.parametrize("name", TROUBLE)
def test_their_names_are_unknown(peaceful: Service, client: httpx.Client, name: str) -> None:
    with nothing_stored(peaceful):
        response = client.post("/tasks/", json={"title": "a", "type": name})

    (error,) = assert_names(response, "#/type")["errors"]
    assert "simulated_work" in error["detail"]


@pytest.mark.parametrize("path", ["/tasks/broken", "/tasks/retry"])
def test_their_routes_are_forbidden(peaceful: Service, client: httpx.Client, path: str) -> None:
    with nothing_stored(peaceful):
        problem = assert_problem(client.post(path, json={"title": "a"}), 403)

    assert "TROUBLE_TYPES" in problem["detail"]


def test_everything_else_works(peaceful: Service, client: httpx.Client) -> None:
    task = peaceful.create(title="Мирная")

    assert peaceful.wait_until(task["id"], "COMPLETED", "FAILED")["status"] == "COMPLETED"
    waiting = peaceful.create(delay_seconds=1000)
    assert client.post(f"/tasks/{waiting['id']}/cancel").json()["status"] == "CANCELLED"
    assert client.post(f"/tasks/{waiting['id']}/retry").status_code == 200
    assert peaceful.wait_until(waiting["id"], "COMPLETED", "FAILED")["status"] == "COMPLETED"
    assert client.get(f"/tasks/{waiting['id']}/events").status_code == 200
    wait_for(lambda: client.get("/health").status_code == 200, 10, "every part is well")
