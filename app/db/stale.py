"""Finds the connections of a pool that are of no use any more, when they are taken from it.

SQLAlchemy then makes new ones in their place (its documentation, "Disconnect Handling").
"""

import select
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, PoolProxiedConnection, event

_GENERATION = "generation"


class Stale:
    """One for each engine. Every method may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        """Begin to look at each connection that is made and taken."""
        self._generation = 0
        event.listen(engine, "connect", self._note)
        event.listen(engine, "checkout", self._refuse_left)
        event.listen(engine, "checkout", _refuse_closed)

    def leave(self, pooled: PoolProxiedConnection) -> None:
        """Have this connection, and all that are as old, replaced before they are used again.

        For a server that answers, and that another one has taken over from: nothing closes the
        connections to it. What somebody uses at the moment comes to its own end.
        """
        # Those that find out later must not have the new connections replaced once more.
        if pooled.info[_GENERATION] == self._generation:
            self._generation += 1
        pooled.invalidate()

    def _note(self, connection: Any, record: Any) -> None:
        record.info[_GENERATION] = self._generation

    def _refuse_left(self, connection: Any, record: Any, proxy: Any) -> None:
        if record.info[_GENERATION] != self._generation:
            raise sqlalchemy.exc.DisconnectionError("the server takes no writes any more")


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
