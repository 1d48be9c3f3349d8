"""Services for the API's tests: one that never starts a task, one whose tasks run for long, ..."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests import servers
from tests.service import Service, running


@pytest.fixture(scope="session")
def start_service(
    postgres: servers.Postgres, valkey: servers.Redis, tmp_path_factory: pytest.TempPathFactory
):
    """Return a function that starts a service on servers' databases of its own."""
    with ExitStack() as stack:

        def start(*, workers: int = 0, **settings: str) -> Service:
            database_url = stack.enter_context(postgres.database())
            redis_url = stack.enter_context(valkey.database())
            logs = tmp_path_factory.mktemp("service")
            # Its tasks have nothing to lose when it stops.
            settings = {"SOFT_SHUTDOWN_SECONDS": "0.5", **settings}
            return stack.enter_context(
                running(database_url, redis_url, logs, workers=workers, **settings)
            )

        yield start


@pytest.fixture(scope="session")
def idle(start_service) -> Service:
    """A service without a worker, so that its tasks wait for ever."""
    return start_service()


@pytest.fixture(scope="session")
def slow(start_service) -> Service:
    """A service whose tasks run for a minute unless they are stopped."""
    return start_service(workers=1, SIMULATED_WORK_SECONDS="60", WORKER_CONCURRENCY="4")


@pytest.fixture(scope="session")
def typed(start_service) -> Service:
    """A service that knows the tests' own types too; its simulated work takes no time."""
    return start_service(
        workers=1,
        TASK_MODULES="tests.api.own_types, tests.api.open_type",
        SIMULATED_WORK_SECONDS="0",
        WORKER_CONCURRENCY="4",
    )


@pytest.fixture(scope="session")
def typed_client(typed: Service) -> Iterator[httpx.Client]:
    """A client of the service with the tests' own types."""
    with typed.client() as client:
        yield client


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """A client of the service that runs its tasks."""
    with service.client() as client:
        yield client


@pytest.fixture(scope="session")
def idle_client(idle: Service) -> Iterator[httpx.Client]:
    """A client of the service without a worker."""
    with idle.client() as client:
        yield client
