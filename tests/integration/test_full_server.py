"""A server without room for one more connection: those that are there serve everybody in turn."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import psycopg2
import pytest
from sqlalchemy import func, literal, select

from app.db.engine import Database, in_event_loop
from app.errors import DatabaseUnavailable
from app.local.postgres import EmbeddedPostgres
from app.settings import Settings
from tests.support import free_port, wait_for

ROOM = 4
CALLERS = 12
# For a while, so that not all can be served by the same few.
_ONE = select(literal(1)).where(func.pg_sleep(0.05).is_not(None))


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, for no more than ROOM connections of everybody."""
    options = [f"max_connections={ROOM}", "superuser_reserved_connections=0"]
    directory = tmp_path_factory.mktemp("small")
    with EmbeddedPostgres(directory, port=free_port(), durable=False, options=options) as server:
        yield server.url("postgres")


def database(url: str, *, seconds: float = 5, in_event_loop: bool = False) -> Database:
    return Database(
        Settings(database_url=url, _env_file=None),
        pool_size=CALLERS,
        application_name="test",
        timeout_seconds=seconds,
        in_event_loop=in_event_loop,
    )


def in_a_transaction(crowded: Database) -> int:
    with crowded.transaction() as connection:
        return connection.execute(_ONE).scalar_one()


def by_statement(crowded: Database) -> int:
    with crowded.statement() as connection:
        return connection.execute(_ONE).scalar_one()


WAYS = [in_a_transaction, by_statement]


@pytest.mark.parametrize("way", WAYS)
def test_threads_take_turns_with_the_connections_that_fit(
    small_server: str, way: Callable[[Database], int]
) -> None:
    def ask(_: int) -> int:
        return way(crowded)

    with (
        closing(database(small_server)) as crowded,
        ThreadPoolExecutor(CALLERS) as threads,
    ):
        assert list(threads.map(ask, range(5 * CALLERS))) == [1] * 5 * CALLERS


@pytest.mark.parametrize("way", WAYS)
def test_coroutines_take_turns_with_the_connections_that_fit(
    small_server: str, way: Callable[[Database], int]
) -> None:
    def ask() -> int:
        return way(crowded)

    async def main() -> list[int]:
        return await asyncio.gather(*(in_event_loop(ask) for _ in range(CALLERS)))

    with closing(database(small_server, in_event_loop=True)) as crowded:
        assert asyncio.run(main()) == [1] * CALLERS


def connected(url: str) -> Any:
    """Return a connection, or None while those of an earlier test are still being closed."""
    try:
        return psycopg2.connect(url)
    except psycopg2.OperationalError:
        return None


@pytest.mark.parametrize("way", WAYS)
def test_who_gets_none_in_time_is_told_why(
    small_server: str, way: Callable[[Database], int]
) -> None:
    with ExitStack() as others, closing(database(small_server, seconds=2)) as late:
        for _ in range(ROOM):
            others.enter_context(closing(wait_for(lambda: connected(small_server), 5, "room")))
        began_at = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="too many clients already"):
            way(late)
        assert 2 <= time.monotonic() - began_at < 5
