"""PostgreSQL and Redis for a run: durable embedded ones, or those of the environment."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg2
import redis

from app.local.postgres import EmbeddedPostgres
from app.local.valkey import EmbeddedValkey

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Servers:
    """Both servers, and fresh databases on them."""

    database_url: str
    redis_url: str
    template: str = field(default_factory=lambda: f"bench_{uuid4().hex[:8]}_template")

    def describe(self) -> dict[str, str]:
        """Return the versions and what makes PostgreSQL durable. Raises ValueError if it is not."""
        asked = ("server_version", "fsync", "synchronous_commit", "full_page_writes")
        found = {name: self._ask(f"SHOW {name}") for name in asked}
        off = [name for name in asked[1:] if found[name] != "on"]
        if off:
            raise ValueError(f"PostgreSQL is not durable: {', '.join(off)} is off")
        client = redis.Redis.from_url(self.redis_url, socket_timeout=5)
        info = client.info("server")
        client.close()
        found["redis_version"] = str(info.get("valkey_version") or info["redis_version"])
        return found

    def _ask(self, query: str) -> str:
        connection = psycopg2.connect(self.database_url)
        try:
            cursor = connection.cursor()
            cursor.execute(query)
            row = cursor.fetchone()
            return str(row[0]) if row else ""
        finally:
            connection.close()

    @contextmanager
    def fresh(self) -> Iterator[dict[str, str]]:
        """Yield the environment of a contestant: an empty migrated database and an empty Redis."""
        name = f"bench_{uuid4().hex[:8]}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {self.template}")
        environment = {"DATABASE_URL": self._url(name), "REDIS_URL": self.redis_url}
        client = redis.Redis.from_url(self.redis_url, socket_timeout=60)
        client.flushdb()
        try:
            yield environment
        finally:
            client.flushdb()
            client.close()
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Have the template, an empty migrated database, while the block lasts."""
        self._execute(f"CREATE DATABASE {self.template}")
        try:
            subprocess.run(
                [sys.executable, "-m", "alembic", "upgrade", "head"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "DATABASE_URL": self._url(self.template),
                    "REDIS_URL": self.redis_url,
                },
                check=True,
                capture_output=True,
                timeout=120,
            )
            yield
        finally:
            self._execute(f"DROP DATABASE {self.template} WITH (FORCE)")

    def _url(self, name: str) -> str:
        return f"{self.database_url.rpartition('/')[0]}/{name}"

    def _execute(self, statement: str) -> None:
        connection = psycopg2.connect(self.database_url)
        try:
            connection.autocommit = True
            connection.cursor().execute(statement)
        finally:
            connection.close()


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Yield BENCH_DATABASE_URL and BENCH_REDIS_URL where both are set, or embedded servers."""
    database_url, redis_url = (
        os.environ.get("BENCH_DATABASE_URL"),
        os.environ.get("BENCH_REDIS_URL"),
    )
    if database_url and redis_url:
        given = Servers(database_url, redis_url)
        with given.prepared():
            yield given
        return
    with (
        EmbeddedPostgres(folder / "postgres", durable=True) as postgres,
        EmbeddedValkey(folder / "valkey", durable=True) as valkey,
    ):
        own = Servers(postgres.url(), valkey.url(0))
        with own.prepared():
            yield own
