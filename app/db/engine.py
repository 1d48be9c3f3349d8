"""The engine of a process, and the transaction in which every use case runs.

Owns pooling, time-outs and the translation of driver errors into the service's own. The rest of
the service gets a `Connection` from here and hands it to the stores.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg2
import sqlalchemy
from sqlalchemy import Connection as Transaction
from sqlalchemy import Engine, event

from app.db import schema, wait
from app.db.driver_errors import (
    READ_ONLY_ERRORS,
    SCHEMA_ERRORS,
    STALE_ERRORS,
    is_away,
    is_full,
    one_line,
)
from app.db.prepared import Direct
from app.db.silence import Silence, StillSilentError
from app.db.stale import Stale
from app.db.wait import in_event_loop
from app.errors import DatabaseUnavailable, StatementRefused
from app.settings import Settings

__all__ = ["Connection", "Database", "Engine", "Transaction", "in_event_loop"]

# What stores get. Statements that are built anew for each call need a transaction.
Connection = Transaction | Direct

# How long to wait before asking a full server again, in seconds; asking costs it a process.
_PAUSE_SECONDS = 0.05

T = TypeVar("T")


def create_engine(
    settings: Settings,
    pool_size: int,
    application_name: str,
    timeout_seconds: float,
    *,
    generic_plans: bool,
) -> Engine:
    """Return an engine whose every wait is bounded; nothing is connected yet."""
    milliseconds = int(timeout_seconds * 1000)
    options = {
        # The server's own limits. They end, on its side, what we no longer wait for.
        "statement_timeout": str(milliseconds),
        "lock_timeout": str(milliseconds),
        "idle_in_transaction_session_timeout": str(6 * milliseconds),
        "timezone": "UTC",
        # Each guard of a transition is meant for it: whoever waited for a row sees what has become
        # of it (PostgreSQL's manual, "Read Committed Isolation Level").
        "default_transaction_isolation": r"read\ committed",
    }
    if generic_plans and settings.database_prepared_statements:
        options["plan_cache_mode"] = "force_generic_plan"
    url = sqlalchemy.make_url(settings.database_url)
    # Such as a search path, or what a hosting provider finds the server by.
    given = str(url.query.get("options", ""))
    engine = sqlalchemy.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        # A server that restarts leaves dead connections in the pool. `app.db.stale` finds them
        # without the round trip that asking each one would cost.
        pool_pre_ping=False,
        pool_recycle=1800,
        # Payloads may hold secrets, and an error's text ends up in logs.
        hide_parameters=True,
        connect_args={
            "connection_factory": wait.bounded(
                min(settings.database_connect_timeout_seconds, timeout_seconds), timeout_seconds
            ),
            "application_name": application_name,
            "client_encoding": "utf8",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": " ".join(
                [given, *(f"-c {name}={value}" for name, value in options.items())]
            ),
        },
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "handle_error", _leave_read_only)
    return engine


def _use_lock_of_the_loop(engine: Engine) -> None:
    """Let coroutines make the first connections at the same time.

    SQLAlchemy asks the server who it is under a lock. A thread's lock, which it takes unless some
    listener says `asyncio`, would be held by one that is suspended, and stop the whole loop for
    ever as soon as another wants it.
    """
    event.listen(engine.pool, "connect", lambda *_: None, asyncio=True)


def _connect(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> Any:
    return wait.connect(lambda: dialect.connect(*arguments, **parameters))


def _leave_read_only(context: sqlalchemy.ExceptionContext) -> None:
    """Let the pool replace its connections to a server that takes no writes any more."""
    if isinstance(context.original_exception, READ_ONLY_ERRORS):
        context.is_disconnect = True


class Database:
    """One process's way to PostgreSQL, from threads or, `in_event_loop`, from coroutines.

    One for coroutines must have a connection for each that may ask at the same time: to wait for
    one would stop the loop.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pool_size: int,
        application_name: str,
        timeout_seconds: float | None = None,
        in_event_loop: bool = False,
        generic_plans: bool = False,
    ) -> None:
        """Prepare; nothing is connected yet.

        With `generic_plans` PostgreSQL plans each prepared statement once for all parameters (its
        manual, "plan_cache_mode"). By itself it plans anew at every call what it guesses to gain
        from that, as with a short array or a small LIMIT, and takes longer for it than to run it.
        For statements whose plan is the same whatever the parameters are.
        """
        self._timeout_seconds = timeout_seconds or settings.database_timeout_seconds
        timeout = self._timeout_seconds
        self._engine = create_engine(
            settings, pool_size, application_name, timeout, generic_plans=generic_plans
        )
        self._stale = Stale(self._engine)
        self._prepares = settings.database_prepared_statements
        self._silence = Silence(0.0) if in_event_loop else Silence()
        if in_event_loop:
            _use_lock_of_the_loop(self._engine)
        event.listen(self._engine, "after_cursor_execute", lambda *_: self._silence.end())

    @property
    def engine(self) -> Engine:
        """The engine itself, for migrations and tests."""
        return self._engine

    @property
    def is_silent(self) -> bool:
        """Whether the latest wait for an answer was in vain, and nobody has been answered since."""
        return self._silence.is_silent

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Yield a connection in a transaction; commit at the end, roll back on any exception.

        Raises:
            DatabaseUnavailable: no connection, a broken one, or no answer in time.
            SchemaOutdated: a table or column is missing.
        """
        with (
            self._translating(),
            self._taken(self._engine.connect) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """Yield a connection on which each statement is a transaction of its own.

        Cheaper than `transaction()`, and meant for one statement. With prepared statements
        switched off it is the same as that.

        Raises:
            DatabaseUnavailable: no connection, a broken one, or no answer in time.
            SchemaOutdated: a table or column is missing.
        """
        if not self._prepares:
            with self.transaction() as connection:
                yield connection
            return
        with self._translating():
            pooled = self._taken(self._engine.raw_connection)
            try:
                driver: Any = pooled.dbapi_connection
                driver.autocommit = True
                yield Direct(pooled)
                driver.autocommit = False
            except STALE_ERRORS:
                pooled.invalidate()
                raise
            except READ_ONLY_ERRORS:
                self._stale.leave(pooled)
                raise
            except BaseException:
                # Whatever has happened, an answer may still be under way.
                _leave_usable(pooled)
                raise
            finally:
                pooled.close()
            self._silence.end()

    def _taken(self, take: Callable[[], T]) -> T:
        """Return what `take` takes from the pool; wait while the server has no room for one more.

        Others may fill a server up to its `max_connections`. What this process holds already is
        enough to go on with, so nobody is refused who can have one of those in time.
        """
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            try:
                return take()
            except (sqlalchemy.exc.OperationalError, psycopg2.OperationalError) as error:
                # A raw connection's errors come as the driver raises them.
                if not is_full(getattr(error, "orig", error)) or time.monotonic() > deadline:
                    raise
            wait.pause(_PAUSE_SECONDS)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            with self._silence.respected():
                yield
        except StillSilentError as error:
            raise DatabaseUnavailable("PostgreSQL does not answer.") from error
        except sqlalchemy.exc.TimeoutError as error:
            raise DatabaseUnavailable("All database connections are in use.") from error
        except sqlalchemy.exc.DBAPIError as error:
            raise self._meaning_of(error.orig, is_gone=error.connection_invalidated) from None
        except psycopg2.Error as error:
            raise self._meaning_of(error) from None

    def _meaning_of(self, error: BaseException | None, *, is_gone: bool = False) -> Exception:
        """Return the service's own error for a driver error.

        Not as its cause: a bug's own text shows the row, secrets included (PostgreSQL's DETAIL).
        """
        if isinstance(error, wait.NoAnswerError):
            self._silence.note()
        if isinstance(error, SCHEMA_ERRORS):
            self._check_schema()
        if is_gone or is_away(error):
            return DatabaseUnavailable(one_line(error))
        return StatementRefused(str(error).partition("\n")[0])

    def _check_schema(self) -> None:
        """Tell a schema that is behind from a statement of ours that is wrong.

        Raises:
            SchemaOutdated: the schema is behind.
        """
        with self._engine.begin() as connection:
            schema.check(connection)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _leave_usable(pooled: sqlalchemy.PoolProxiedConnection) -> None:
    """Give a connection back as it came, or let the pool replace it."""
    driver: Any = pooled.dbapi_connection
    try:
        driver.autocommit = False
    except psycopg2.Error:
        # It is broken, or in the middle of a statement that a signal has interrupted.
        pooled.invalidate()
