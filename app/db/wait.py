"""A bounded, interruptible wait for PostgreSQL's answers.

libpq blocks in C for as long as the server stays silent, and neither statement_timeout (which a
frozen server does not count) nor TCP keepalives (which a frozen server's kernel answers) end that.
psycopg2's wait callback (its documentation, "Support for coroutine libraries") gives the wait to
us: here it has a deadline, and a signal handler that raises ends it at once.

In an API process's event loop the wait suspends the request instead of a thread (`in_event_loop`):
each hand-over of the interpreter's lock between threads costs more than most statements do.
"""

import asyncio
import math
import select
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg2
import psycopg2.extensions
from sqlalchemy.util import await_, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

# poll(2) takes no infinity; in seconds.
_LONGEST_POLL = 3600.0

T = TypeVar("T")


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
    suspends = in_greenlet()
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoAnswerError(f"PostgreSQL gave no answer within {limit:g} s")
        reads = state == psycopg2.extensions.POLL_READ
        if suspends:
            await_(_ready(connection.fileno(), reads=reads, seconds=left))
        else:
            poller = select.poll()
            poller.register(connection.fileno(), select.POLLIN if reads else select.POLLOUT)
            poller.poll(min(left, _LONGEST_POLL) * 1000)


async def _ready(file: int, *, reads: bool, seconds: float) -> None:
    """Return once a socket can be read or written, or so many seconds have passed."""
    loop = asyncio.get_running_loop()
    is_ready = loop.create_future()

    def note() -> None:
        if not is_ready.done():
            is_ready.set_result(None)

    (loop.add_reader if reads else loop.add_writer)(file, note)
    timer = loop.call_later(min(seconds, _LONGEST_POLL), note)
    try:
        await is_ready
    finally:
        timer.cancel()
        (loop.remove_reader if reads else loop.remove_writer)(file)


async def in_event_loop(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in the event loop's thread, where its waits for PostgreSQL suspend only it.

    Nothing in it may wait for anything else. A cancellation raises in it where it waits, and
    psycopg2 then closes the connection.
    """
    return await greenlet_spawn(function, *arguments)


def connect(connect_in_this_thread: Callable[[], T]) -> T:
    """Make a connection. In the event loop another thread does it: names are looked up in C."""
    if in_greenlet():
        return await_(asyncio.to_thread(connect_in_this_thread))
    return connect_in_this_thread()


def pause(seconds: float) -> None:
    """Let some time pass, for the caller only."""
    if in_greenlet():
        await_(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def _limit(connection: psycopg2.extensions.connection) -> float:
    """Return how long to wait, in seconds."""
    if not isinstance(connection, BoundedConnection):
        # A handler's own connection: the callback is the whole process's, the limits are not.
        return math.inf
    if connection.status == psycopg2.extensions.STATUS_SETUP:
        return connection.connect_seconds
    return connection.answer_seconds
