"""The real servers that tests talk to: embedded ones, or those of the environment.

TEST_DATABASE_URL (a role that may create databases) and TEST_REDIS_URL, when set, take the place of
the embedded servers. Every test that commits gets a database of its own, cloned from a migrated
template, and a Redis database of its own.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg2
import redis

from app.local.postgres import EmbeddedPostgres
from app.local.valkey import EmbeddedValkey
from tests.support import free_port

ROOT = Path(__file__).resolve().parents[1]


class Postgres:
    """A PostgreSQL server with a migrated template database."""

    def __init__(self, url: str) -> None:
        self._base, _, self._database = url.rpartition("/")
        self._base = self._base.replace("postgresql+psycopg2://", "postgresql://")
        self._template = f"tm_template_{uuid4().hex[:8]}"
        self._execute(f"CREATE DATABASE {self._template}")
        migrate(self.url(self._template))

    def url(self, database: str) -> str:
        return f"{self._base}/{database}"

    def _execute(self, sql: str) -> None:
        connection = psycopg2.connect(self.url(self._database))
        try:
            connection.autocommit = True
            connection.cursor().execute(sql)
        finally:
            connection.close()

    @contextmanager
    def database(self, *, migrated: bool = True, how: str = "") -> Iterator[str]:
        """Yield the URL of a new database, which is dropped afterwards.

        Either migrated, or empty and made as `how` says, in the words of CREATE DATABASE.
        """
        name = f"tm_test_{uuid4().hex[:8]}"
        if migrated and not how:
            how = f"TEMPLATE {self._template}"
        self._execute(f"CREATE DATABASE {name} {how}")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        self._execute(f"DROP DATABASE {self._template} WITH (FORCE)")


class Redis:
    """A Redis or Valkey server whose databases are handed out one by one."""

    def __init__(self, url: str, first: int, count: int) -> None:
        self._base = url.rpartition("/")[0] if url.count("/") > 2 else url
        self._free = list(range(first, first + count))

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of an empty Redis database."""
        number = self._free.pop()
        url = f"{self._base}/{number}"
        client = redis.Redis.from_url(url, socket_timeout=5)
        client.flushdb()
        try:
            yield url
        finally:
            client.flushdb()
            client.close()
            self._free.append(number)


@contextmanager
def postgres(directory: Path) -> Iterator[Postgres]:
    """Yield a PostgreSQL server for a test run."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        server = Postgres(given)
        yield server
        server.close()
        return
    # Half a dozen services stay there for the whole run.
    options = ["synchronous_commit=off", "max_connections=300"]
    with EmbeddedPostgres(directory, port=free_port(), durable=False, options=options) as embedded:
        yield Postgres(embedded.url("postgres"))


@contextmanager
def valkey(directory: Path) -> Iterator[Redis]:
    """Yield a Redis or Valkey server for a test run."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        if "PYTEST_XDIST_WORKER" in os.environ:
            raise RuntimeError("On a given Redis, tests run in one process: leave out -n.")
        # A plain Redis has sixteen databases; the first few may be in use by people.
        yield Redis(given, 8, 8)
        return
    with EmbeddedValkey(directory, port=free_port(), durable=False, databases=64) as embedded:
        yield Redis(embedded.url(0), 1, 60)


def migrate(database_url: str) -> None:
    """Bring a database to the newest revision, through the documented command."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
