"""The service with its plugs in the test's hands: two servers, workers, an outside ledger."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.faults.servers import Plug, RedisPlug, postgres_plug, redis_plug
from tests.lab import Lab, lab

# `make faults` sets it: the same tests, more and longer.
LONG = os.environ.get("FAULTS") == "long"


@pytest.fixture
def postgres_server(postgres: servers.Postgres, tmp_path: Path) -> Iterator[Plug]:
    with postgres_plug(postgres, tmp_path) as plug:
        yield plug


@pytest.fixture
def redis_server(valkey: servers.Redis, tmp_path: Path) -> Iterator[RedisPlug]:
    with redis_plug(valkey, tmp_path) as plug:
        yield plug


@pytest.fixture
def fault_lab(postgres_server: Plug, redis_server: RedisPlug, tmp_path: Path) -> Iterator[Lab]:
    """A lab whose servers may be harmed, its API started, its workers the test's to start."""
    with lab(postgres_server.url, redis_server.url, tmp_path) as own:
        yield own


@pytest.fixture
def broker_lab(database_url: str, redis_server: RedisPlug, tmp_path: Path) -> Iterator[Lab]:
    """A lab whose Redis may be harmed; its database is a clone on the shared server."""
    with lab(database_url, redis_server.url, tmp_path) as own:
        yield own


@pytest.fixture
def worker_lab(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Lab]:
    """A lab whose workers may be harmed, with the default lease of 15 s."""
    with lab(database_url, redis_url, tmp_path) as own:
        yield own
