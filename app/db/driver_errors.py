"""What the driver's errors mean: the server is away, full or read-only, or a statement is wrong."""

import psycopg2
import psycopg2.errors

# A missing table or column means that the migrations have not run.
SCHEMA_ERRORS = (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn)
# A prepared statement is not there, as behind a pooler that changes connections between
# transactions, or has become another since, by a migration. The next connection knows better.
STALE_ERRORS = (
    psycopg2.errors.InvalidSqlStatementName,
    psycopg2.errors.DuplicatePreparedStatement,
    psycopg2.errors.FeatureNotSupported,
)
# The server takes no writes: another one has taken over from it, which new connections may find.
READ_ONLY_ERRORS = (psycopg2.errors.ReadOnlySqlTransaction,)
# The role lacks a right: until somebody grants it, the database is as good as away.
_FORBIDDEN = (psycopg2.errors.InsufficientPrivilege,)
# How a server says that it has no connection to spare, for anybody or for this role or database.
# libpq gives no code for what happens before a connection is there. The last is PgBouncer's; the
# others stand in PostgreSQL's proc.c and postinit.c. In another language nobody waits.
_FULL = (
    "too many clients",
    "too many connections",
    "remaining connection slots are reserved",
    "no more connections allowed",
)


def is_away(error: BaseException | None) -> bool:
    """Return whether it passes by itself, on this server or on the one that follows it."""
    if isinstance(error, STALE_ERRORS + READ_ONLY_ERRORS + _FORBIDDEN):
        return True
    # Too large a value for PostgreSQL is an OperationalError to psycopg2.
    return isinstance(
        error, psycopg2.OperationalError | psycopg2.InterfaceError
    ) and not isinstance(error, psycopg2.errors.ProgramLimitExceeded)


def is_full(error: BaseException | None) -> bool:
    """Return whether the server has no room for one more connection."""
    return any(words in str(error) for words in _FULL)


def one_line(error: BaseException | None) -> str:
    """Return an error's text, which libpq spreads over several lines, in one."""
    return " ".join(str(error).split())
