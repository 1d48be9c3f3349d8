"""A bounded, interruptible wait for PostgreSQL's answers.

libpq blocks in C for as long as the server stays silent, and neither statement_timeout (which a
frozen server does not count) nor TCP keepalives (which a frozen server's kernel answers) end that.
psycopg2's wait callback (its documentation, "Support for coroutine libraries") gives the wait to
us: here it has a deadline, and a signal handler that raises ends it at once.
"""

import math
import select
import time

import psycopg2
import psycopg2.extensions

# poll(2) takes no infinity; in seconds.
_LONGEST_POLL = 3600.0


class NoAnswerError(psycopg2.OperationalError):
    """PostgreSQL said nothing for as long as one waits."""


class BoundedConnection(psycopg2.extensions.connection):
    """A connection whose waits end. Subclasses made by `bounded` say when."""

    connect_seconds: float
    answer_seconds: float


def bounded(connect_seconds: float, answer_seconds: float) -> type[BoundedConnection]:
    """Return a connection factory with these time-outs, and install the wait that keeps them."""
    psycopg2.extensions.set_wait_callback(_wait)
    limits = {"connect_seconds": connect_seconds, "answer_seconds": answer_seconds}
    return type("BoundedConnection", (BoundedConnection,), limits)


def _wait(connection: psycopg2.extensions.connection) -> None:
    """Wait for a statement's answer, or for a new connection.

    Raises:
        NoAnswerError: the time is over. psycopg2 then closes the connection, since
            nothing is known of the statement any more.
    """
    limit = _limit(connection)
    deadline = time.monotonic() + limit
    while True:
        state = connection.poll()
        if state == psycopg2.extensions.POLL_OK:
            return
        poller = select.poll()
        poller.register(
            connection.fileno(),
            select.POLLIN if state == psycopg2.extensions.POLL_READ else select.POLLOUT,
        )
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoAnswerError(f"PostgreSQL gave no answer within {limit:g} s")
        poller.poll(min(left, _LONGEST_POLL) * 1000)


def _limit(connection: psycopg2.extensions.connection) -> float:
    """Return how long to wait, in seconds."""
    if not isinstance(connection, BoundedConnection):
        # A handler's own connection: the callback is the whole process's, the limits are not.
        return math.inf
    if connection.status == psycopg2.extensions.STATUS_SETUP:
        return connection.connect_seconds
    return connection.answer_seconds
