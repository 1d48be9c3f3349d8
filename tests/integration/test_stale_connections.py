"""A server that takes no writes any more is left, with every connection to it, and only once."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
from sqlalchemy import func, literal, select, text

from app.db.engine import Database
from app.errors import DatabaseUnavailable
from app.settings import Settings
from tests.support import wait_for

SIZE = 4
_BACKEND = select(func.pg_backend_pid())
_BECOME_READ_ONLY = select(func.set_config("default_transaction_read_only", "on", literal(False)))
# Refused by a server that takes no writes (PostgreSQL's manual, "SET TRANSACTION").
_WRITE = select(func.nextval("tasks_id_seq"))
_NAME = "test of stale connections"


@pytest.fixture
def pool(settings: Settings) -> Iterator[Database]:
    with closing(Database(settings, pool_size=SIZE, application_name=_NAME)) as database:
        yield database


@contextmanager
def backend(pool: Database) -> Iterator[int]:
    """Hold a connection, and yield the process that serves it."""
    with pool.statement() as connection:
        yield connection.execute(_BACKEND).scalar_one()


def backends(pool: Database) -> set[int]:
    """Return all that serve this pool, having taken each of its connections at the same time."""
    with ExitStack() as stack:
        return {stack.enter_context(backend(pool)) for _ in range(SIZE)}


def write_read_only(pool: Database) -> None:
    with pool.statement() as connection:
        connection.execute(_BECOME_READ_ONLY)
        connection.execute(_WRITE)


def test_every_connection_as_old_is_replaced_and_none_is_left_behind(
    pool: Database, shared_database: Database
) -> None:
    before = backends(pool)
    assert len(before) == SIZE
    with ExitStack() as stack:
        # Used while another one finds out, and given back afterwards.
        for _ in range(SIZE - 1):
            stack.enter_context(backend(pool))
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            write_read_only(pool)

    after = backends(pool)
    assert len(after) == SIZE
    assert not after & before

    def connected() -> set[int]:
        with shared_database.transaction() as connection:
            query = text("SELECT pid FROM pg_stat_activity WHERE application_name = :name")
            return set(connection.execute(query, {"name": _NAME}).scalars())

    # A backend that is told to go takes a moment for it.
    wait_for(lambda: connected() == after, 5, "the others are gone")


def test_who_finds_out_late_has_no_new_connection_replaced(pool: Database) -> None:
    new = 0

    def write_late() -> None:
        nonlocal new
        with pool.statement() as late:
            late.execute(_BECOME_READ_ONLY)
            with pytest.raises(DatabaseUnavailable):
                write_read_only(pool)
            with backend(pool) as new:
                pass
            late.execute(_WRITE)

    with pytest.raises(DatabaseUnavailable, match="read-only"):
        write_late()
    assert new in backends(pool)
