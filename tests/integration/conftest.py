"""Labs: the service with workers that know the tests' own task types."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from app.broker.publisher import Publisher
from app.settings import Settings
from tests import servers
from tests.lab import Lab, lab, patient_publisher


@pytest.fixture(scope="module")
def shared_lab(
    postgres: servers.Postgres, valkey: servers.Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """A lab with one worker of two processes, whose deaf tasks are killed after a second."""
    with (
        postgres.database() as database_url,
        valkey.database() as redis_url,
        lab(
            database_url,
            redis_url,
            tmp_path_factory.mktemp("lab"),
            CANCEL_GRACE_SECONDS="1",
            UNKNOWN_TYPE_SECONDS="2",
        ) as shared,
    ):
        shared.service.start_worker()
        yield shared


@pytest.fixture
def own_lab(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Lab]:
    """A lab for one test, with a short lease; its workers are the test's to start and to harm."""
    with lab(database_url, redis_url, tmp_path, LEASE_SECONDS="3") as own:
        yield own


@pytest.fixture
def publisher(settings: Settings) -> Publisher:
    return patient_publisher(settings)


@pytest.fixture
def queues(redis_url: str) -> Any:
    client = redis.Redis.from_url(redis_url, socket_timeout=5)
    yield client
    client.close()
