"""The service with its plugs in the test's hands: two servers, workers, an outside ledger."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app.settings import Settings
from tests import servers
from tests.faults.servers import Plug, RedisPlug, postgres_plug, redis_plug
from tests.lab import Lab, lab

# `make faults` sets it: the same tests, more and longer.
LONG = os.environ.get("FAULTS") == "long"
# Where a promise goes by the lease, the short form has a shorter one, and waits less for its end.
LEASE_SECONDS: float = Settings.model_fields["lease_seconds"].default if LONG else 5.0


@contextmanager
def own_lab(database_url: str, redis_url: str, directory: Path, **settings: str) -> Iterator[Lab]:
    """Yield a lab whose processes are killed afterwards: what they still run is of no interest."""
    temporary = directory / "temporary"
    # What killed processes leave behind there is no litter of the machine's.
    temporary.mkdir(exist_ok=True)
    with lab(database_url, redis_url, directory, TMPDIR=str(temporary), **settings) as own:
        try:
            yield own
        finally:
            for name in list(own.service.processes):
                with suppress(ProcessLookupError):
                    own.service.kill(name)


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
    with own_lab(postgres_server.url, redis_server.url, tmp_path) as own:
        yield own


@pytest.fixture
def broker_lab(database_url: str, redis_server: RedisPlug, tmp_path: Path) -> Iterator[Lab]:
    """A lab whose Redis may be harmed; its database is a clone on the shared server."""
    with own_lab(database_url, redis_server.url, tmp_path) as own:
        yield own


@pytest.fixture
def worker_lab(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Lab]:
    """A lab whose workers may be harmed, with the default lease."""
    with own_lab(database_url, redis_url, tmp_path) as own:
        yield own


@pytest.fixture
def lease_lab(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Lab]:
    """A lab whose workers may be harmed, with leases of LEASE_SECONDS."""
    with own_lab(database_url, redis_url, tmp_path, LEASE_SECONDS=str(LEASE_SECONDS)) as own:
        yield own
