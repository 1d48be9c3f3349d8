"""The engine of a process, and the transaction in which every use case runs.

Owns pooling, time-outs and the translation of driver errors into the service's own. The rest of
the service gets a `Connection` from here and hands it to the stores.
"""

import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg2
import psycopg2.errors
import sqlalchemy
from sqlalchemy import Connection as Transaction
from sqlalchemy import Engine, event

from app.db import schema, wait
from app.db.prepared import Direct
from app.db.silence import Silence, StillSilentError
from app.db.wait import in_event_loop
from app.errors import DatabaseUnavailable, StatementRefused
from app.settings import Settings

__all__ = ["Connection", "Database", "Engine", "Transaction", "in_event_loop"]

# What stores get. Statements that are built anew for each call need a transaction.
Connection = Transaction | Direct

# A missing table or column means that the migrations have not run.
_SCHEMA_ERRORS = (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn)
# A prepared statement is not there, as behind a pooler that changes connections between
# transactions, or has become another since, by a migration. The next connection knows better.
_STALE_ERRORS = (
    psycopg2.errors.InvalidSqlStatementName,
    psycopg2.errors.DuplicatePreparedStatement,
    psycopg2.errors.FeatureNotSupported,
)
# How a server says that it has no connection to spare, for anybody or for this role or database.
# libpq gives no code for what happens before a connection is there. The last is PgBouncer's; the
# others stand in PostgreSQL's proc.c and postinit.c. In another language nobody waits.
_FULL = (
    "too many clients",
    "too many connections",
    "remaining connection slots are reserved",
    "no more connections allowed",
)
# How long to wait before asking a full server again, in seconds; asking costs it a process.
_PAUSE_SECONDS = 0.05

T = TypeVar("T")


def create_engine(
    settings: Settings, pool_size: int, application_name: str, timeout_seconds: float
) -> Engine:
    """Return an engine whose every wait is bounded; nothing is connected yet."""
    milliseconds = int(timeout_seconds * 1000)
    engine = sqlalchemy.create_engine(
        settings.database_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        # A server that restarts leaves dead connections in the pool. `_refuse_closed` finds them
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
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            # The server's own limits. They end, on its side, what we no longer wait for.
            "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
            f" -c idle_in_transaction_session_timeout={6 * milliseconds} -c timezone=UTC",
        },
    )
    event.listen(engine, "checkout", _refuse_closed)
    event.listen(engine, "do_connect", _connect)
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


def _refuse_closed(connection: Any, record: Any, proxy: Any) -> None:
    """Let the pool replace a connection whose server has gone.

    An idle connection has nothing to say, so that a readable socket means its end. One whose
    server vanished without a word is not found here, but by the time-out of its next statement.

    Raises:
        sqlalchemy.exc.DisconnectionError: SQLAlchemy's sign to its pool to connect anew.
    """
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    if poller.poll(0):
        raise sqlalchemy.exc.DisconnectionError("the server closed the connection")


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
    ) -> None:
        self._timeout_seconds = timeout_seconds or settings.database_timeout_seconds
        self._engine = create_engine(
            settings,
            pool_size,
            application_name,
            self._timeout_seconds,
        )
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
            except _STALE_ERRORS:
                pooled.invalidate()
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
            except sqlalchemy.exc.OperationalError as error:
                if not _is_full(error.orig) or time.monotonic() > deadline:
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
        if isinstance(error, _SCHEMA_ERRORS):
            self._check_schema()
        # Too large a value for PostgreSQL is an OperationalError to psycopg2.
        is_refusal = isinstance(error, psycopg2.errors.ProgramLimitExceeded)
        is_away = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        if is_gone or isinstance(error, _STALE_ERRORS) or (is_away and not is_refusal):
            return DatabaseUnavailable(_one_line(error))
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


def _is_full(error: BaseException | None) -> bool:
    return any(words in str(error) for words in _FULL)


def _leave_usable(pooled: sqlalchemy.PoolProxiedConnection) -> None:
    """Give a connection back as it came, or let the pool replace it."""
    driver: Any = pooled.dbapi_connection
    try:
        driver.autocommit = False
    except psycopg2.Error:
        # It is broken, or in the middle of a statement that a signal has interrupted.
        pooled.invalidate()


def _one_line(error: BaseException | None) -> str:
    """Return an error's text, which libpq spreads over several lines, in one."""
    return " ".join(str(error).split())
