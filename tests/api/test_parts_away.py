"""What clients get while the database, its schema, the broker or the workers are away."""

import math
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.domain.priority import QueueName
from tests import servers
from tests.api.answers import assert_problem
from tests.service import Service
from tests.support import free_port

# The time-outs of the defaults (2 s to connect, 5 s for an answer), and some for a busy machine.
BOUND_SECONDS = 8.0
HEALTH_BOUND_SECONDS = 4.0

# The parts of /health that the database is asked about.
NEED_THE_DATABASE = ("database", "workers", "oldest_waiting")

REQUESTS = [
    ("POST", "/tasks/", {"title": "a"}),
    ("POST", "/tasks/broken", {"title": "a"}),
    ("POST", "/tasks/retry", {"title": "a"}),
    ("GET", "/tasks/", None),
    ("GET", "/tasks/1", None),
    ("PUT", "/tasks/1", {"title": "a"}),
    ("DELETE", "/tasks/1", None),
    ("POST", "/tasks/1/cancel", None),
    ("POST", "/tasks/1/retry", None),
    ("GET", "/tasks/1/attempts", None),
    ("GET", "/tasks/1/events", None),
    ("GET", "/tasks/1/logs", None),
]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.fixture
def client(new_service: Service) -> Iterator[httpx.Client]:
    with new_service.client() as client:
        yield client


def assert_unavailable(client: httpx.Client, *words: str) -> None:
    """Check that every route that needs the database says so, and in time."""
    for method, path, body in REQUESTS:
        asked = time.monotonic()
        response = client.request(method, path, json=body)
        assert time.monotonic() - asked < BOUND_SECONDS
        problem = assert_problem(response, 503)
        assert int(response.headers["retry-after"]) > 0
        for word in words:
            assert word in problem["detail"]


def assert_away(client: httpx.Client, *parts: str) -> None:
    """Check that /health says quickly which parts are away, and /health/live that we answer."""
    asked = time.monotonic()
    response = client.get("/health")
    assert time.monotonic() - asked < HEALTH_BOUND_SECONDS
    body = assert_problem(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert {name for name, check in body["checks"].items() if not check["ok"]} == set(parts)
    assert all(f"{part}: " in body["detail"] for part in parts)
    assert client.get("/health/live").status_code == 200


def test_a_database_that_refuses_is_unavailable(new_service: Service, client: httpx.Client) -> None:
    new_service.database_url = f"postgresql://nobody:secret@127.0.0.1:{free_port()}/nothing"
    new_service.start_api()

    assert_unavailable(client)
    assert_away(client, *NEED_THE_DATABASE)
    assert "secret" not in client.get("/tasks/").text
    # The log says why, in words; a stack trace for each request would bury them.
    assert "Traceback" not in new_service.log("api")


def test_a_database_that_says_nothing_is_unavailable_in_time(
    new_service: Service, client: httpx.Client, silent_port: int
) -> None:
    new_service.database_url = f"postgresql://nobody@127.0.0.1:{silent_port}/nothing"
    new_service.settings["DATABASE_CONNECT_TIMEOUT_SECONDS"] = "0.5"
    new_service.start_api()

    assert_unavailable(client)
    assert_away(client, *NEED_THE_DATABASE)


def test_a_database_without_the_schema_says_how_to_get_it(
    new_service: Service, client: httpx.Client, postgres: servers.Postgres
) -> None:
    with postgres.database(migrated=False) as url:
        new_service.database_url = url
        new_service.start_api()
        assert_unavailable(client, "alembic upgrade head")
        assert_away(client, *NEED_THE_DATABASE)
        assert "alembic upgrade head" in new_service.log("api")

        servers.migrate(url)
        response = client.post("/tasks/", json={"title": "a"})
        new_service.close()

    assert response.status_code == 201


def test_metrics_stay_readable_without_the_database(
    new_service: Service, client: httpx.Client
) -> None:
    new_service.database_url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    new_service.start_api()

    response = client.get("/metrics")

    assert response.status_code == 200
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    for name in (
        "task_manager_workers_alive",
        "task_manager_tasks_unfinished",
        "task_manager_oldest_waiting_seconds",
    ):
        assert all(math.isnan(sample.value) for sample in families[name].samples)
    queues = families["task_manager_queue_messages"].samples
    assert [sample.value for sample in queues] == [0] * len(QueueName)


@pytest.mark.parametrize("broker", ["refuses", "says nothing"])
def test_a_broker_that_is_away_delays_work_but_no_answer(
    new_service: Service, client: httpx.Client, silent_port: int, broker: str
) -> None:
    port = free_port() if broker == "refuses" else silent_port
    new_service.redis_url = f"redis://127.0.0.1:{port}/0"
    new_service.start_api()

    for _ in range(5):
        asked = time.monotonic()
        response = client.post("/tasks/", json={"title": "a"})
        assert time.monotonic() - asked < 1
        assert response.status_code == 201
    assert {task["status"] for task in client.get("/tasks/").json()} == {"NEW"}
    assert_away(client, "broker", "workers")
    assert client.get("/metrics").status_code == 200


def test_health_misses_the_workers_when_there_are_none(
    new_service: Service, client: httpx.Client
) -> None:
    new_service.start_api()

    assert_away(client, "workers")
