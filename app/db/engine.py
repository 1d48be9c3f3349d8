"""The engine of a process, and the transaction in which every use case runs.

Owns pooling, time-outs and the translation of driver errors into the service's own. The rest of
the service gets a `Connection` from here and hands it to the stores.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import psycopg2.errors
import sqlalchemy
from sqlalchemy import Connection, Engine

from app.db import wait
from app.errors import DatabaseUnavailable, SchemaOutdated
from app.settings import Settings

__all__ = ["Connection", "Database", "Engine"]

# A missing table or column means that the migrations have not run.
_SCHEMA_ERRORS = (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn)


def create_engine(
    settings: Settings, pool_size: int, application_name: str, timeout_seconds: float
) -> Engine:
    """Return an engine whose every wait is bounded; nothing is connected yet."""
    milliseconds = int(timeout_seconds * 1000)
    return sqlalchemy.create_engine(
        settings.database_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        # A server restart leaves dead connections in the pool. Asking each one first costs a
        # round trip per transaction; instead a failure empties the pool (SQLAlchemy's manual,
        # "Disconnect Handling - Optimistic"), and `Database.transaction` says Unavailable.
        pool_pre_ping=False,
        pool_recycle=1800,
        connect_args={
            "connection_factory": wait.bounded(
                min(settings.database_connect_timeout_seconds, timeout_seconds), timeout_seconds
            ),
            "application_name": application_name,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            # The server's own limits. They end, on its side, what we no longer wait for.
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
            f" -c idle_in_transaction_session_timeout={6 * milliseconds} -c timezone=UTC",
        },
    )


class Database:
    """One process's way to PostgreSQL."""

    def __init__(
        self,
        settings: Settings,
        *,
        pool_size: int,
        application_name: str,
        timeout_seconds: float | None = None,
    ) -> None:
        self._engine = create_engine(
            settings,
            pool_size,
            application_name,
            timeout_seconds or settings.database_timeout_seconds,
        )

    @property
    def engine(self) -> Engine:
        """The engine itself, for migrations and tests."""
        return self._engine

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection in a transaction; commit at the end, roll back on any exception.

        Raises:
            DatabaseUnavailable: no connection, a broken one, or no answer in time.
            SchemaOutdated: a table or column is missing.
        """
        try:
            with self._engine.begin() as connection:
                yield connection
        except sqlalchemy.exc.TimeoutError as error:
            raise DatabaseUnavailable("All database connections are in use.") from error
        except sqlalchemy.exc.DBAPIError as error:
            raise translated(error) from error
        except psycopg2.OperationalError as error:
            raise DatabaseUnavailable(str(error).strip()) from error

    def forget_connections(self) -> None:
        """Drop the pool without closing its sockets, for a child process that inherited them."""
        self._engine.dispose(close=False)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def translated(error: sqlalchemy.exc.DBAPIError) -> Exception:
    """Return the service's own error for a driver error, or the error itself when it is a bug."""
    if isinstance(error.orig, _SCHEMA_ERRORS):
        return SchemaOutdated(
            "The database schema is missing or behind this version: run `alembic upgrade head`."
        )
    unavailable = error.connection_invalidated or isinstance(
        error.orig, psycopg2.OperationalError | psycopg2.InterfaceError
    )
    if unavailable:
        return DatabaseUnavailable(str(error.orig).strip())
    return error
