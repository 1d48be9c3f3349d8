"""Fixtures: servers once a run, a database and a Redis for each test that asks for one."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.db.engine import Connection, Database
from app.settings import Settings
from tests import pooler, servers
from tests.service import Service, running


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a program that is not here; not in continuous integration, though."""
    if os.environ.get("CI") or pooler.program():
        return
    left_out = [item for item in items if item.get_closest_marker("pooler")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        config.stash[_LEFT_OUT] = f"{len(left_out)} tests are left out: {pooler.MISSING}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the process that started this one know what was left out."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left out"] = session.config.stash.get(_LEFT_OUT, None)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a process that has run tests what it left out."""
    if message := getattr(node, "workeroutput", {}).get("left out"):
        node.config.stash[_LEFT_OUT] = message


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left out, where nobody overlooks it."""
    if message := config.stash.get(_LEFT_OUT, None):
        terminalreporter.write_line(message, yellow=True)


_LEFT_OUT = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Postgres]:
    with servers.postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Redis]:
    with servers.valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def database_url(postgres: servers.Postgres) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def shared_database(postgres: servers.Postgres) -> Iterator[Database]:
    with postgres.database() as url:
        # Large tables are made there, which is no statement that a service has to wait for.
        database = Database(
            Settings(database_url=url, _env_file=None),
            pool_size=2,
            application_name="test",
            timeout_seconds=60,
        )
        yield database
        database.close()


@pytest.fixture
def connection(shared_database: Database) -> Iterator[Connection]:
    """A connection whose transaction is rolled back, for tests that need no commit."""
    with shared_database.engine.connect() as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def redis_url(valkey: servers.Redis) -> Iterator[str]:
    with valkey.database() as url:
        yield url


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return Settings(database_url=database_url, redis_url=redis_url, _env_file=None)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings, pool_size=5, application_name="test")
    yield database
    database.close()


@pytest.fixture(scope="session")
def service(
    postgres: servers.Postgres, valkey: servers.Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A running API and worker for tests that only use it, with half a second of work a task."""
    logs: Path = tmp_path_factory.mktemp("service")
    with (
        postgres.database() as database_url,
        valkey.database() as redis_url,
        running(database_url, redis_url, logs, SIMULATED_WORK_SECONDS="0.5") as service,
    ):
        yield service


@pytest.fixture
def new_service(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Service]:
    """A service with nothing started yet, for tests that harm it."""
    service = Service(database_url, redis_url, tmp_path)
    try:
        yield service
    finally:
        service.close()
