"""Processes of the service as threads that stop before every statement and wait to be told.

An actor calls a use case with a `Database` of its own. Before each statement, each commit and
rollback, and each publishing, its thread reports where it is and waits for an order: to go on, or
to meet one of the troubles that a process can meet there.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Any

import psycopg2
from sqlalchemy import event

from app.db.engine import Database
from app.domain.priority import QueueName
from app.domain.task import TaskMessage
from app.errors import ServiceError
from app.settings import Settings
from tests.model.broker import Broker
from tests.model.operations import Ended, Operation, Raised, Returned


class Point(Enum):
    """Where an actor waits; STATEMENT is before one, and so are the others."""

    STATEMENT = auto()
    COMMIT = auto()
    ROLLBACK = auto()
    PUBLISH = auto()


class Order(Enum):
    """What an actor is told."""

    GO = auto()
    # Its process is gone, here; COMMIT_ first lets the commit before which it waits be made.
    DIE = auto()
    COMMIT_AND_DIE = auto()
    # Its connection is gone, which it notices here; the commit's answer may be what is lost.
    DISCONNECT = auto()
    COMMIT_AND_DISCONNECT = auto()


class Died(BaseException):
    """Ends an actor's operation as the end of its process would. Caught by nobody else."""


class Actor:
    """One thread of one process. All but `_work` and what it calls is for the scheduler's thread.

    It is idle without an operation, waits at a point, or runs: in Python for a moment, or in the
    server for as long as a lock makes it wait.
    """

    def __init__(self, name: str, settings: Settings, broker: Callable[[], Broker]) -> None:
        self.name = name
        self.operation: Operation | None = None
        self.point: Point | None = None
        # Its server process, once it has a connection.
        self.backend = 0
        # Whether its connection was harmed during this operation, so that it may say so.
        self.disturbed = False
        # How its operation ended, until somebody takes note; None for one that died.
        self.ended: Ended | Died | Exception | None = None
        self._broker = broker
        self._dying = False
        self._orders: queue.SimpleQueue[Operation | Order | None] = queue.SimpleQueue()
        self._reports: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.database = Database(settings, pool_size=1, application_name=f"model {name}")
        engine = self.database.engine
        with engine.connect():
            # SQLAlchemy's own first questions are not for the model.
            pass
        event.listen(engine, "before_cursor_execute", self._at_statement)
        event.listen(engine, "commit", self._at_commit)
        event.listen(engine, "rollback", self._at_rollback)
        self._thread = threading.Thread(target=self._work, name=f"model {name}", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether it has no operation."""
        return self.operation is None

    @property
    def is_running(self) -> bool:
        """Whether it is neither idle nor waits for an order."""
        return self.operation is not None and self.point is None and self.ended is None

    def begin(self, operation: Operation) -> None:
        """Let an idle actor begin an operation; it goes as far as its first point."""
        self.operation, self.ended, self.disturbed = operation, None, False
        self._dying = False
        self._orders.put(operation)

    def tell(self, order: Order) -> None:
        """Give a waiting actor its order."""
        self.point = None
        self.disturbed |= order is not Order.GO
        self._orders.put(order)

    def doom(self) -> None:
        """Let whatever a running actor meets next be its end."""
        self._dying = True

    def listen(self, seconds: float) -> bool:
        """Take a running actor's report, if it comes in this time."""
        try:
            report = self._reports.get(timeout=seconds)
        except queue.Empty:
            return False
        if isinstance(report, Point):
            self.point = report
        else:
            self.ended = report
        return True

    def dismiss(self) -> None:
        """Take note that the operation has ended."""
        self.operation = self.point = self.ended = None

    def close(self) -> None:
        """End the thread of an idle actor."""
        self._orders.put(None)
        self._thread.join(10)
        self.database.close()

    # --- in the actor's own thread

    def _work(self) -> None:
        while isinstance(operation := self._orders.get(), Operation):
            try:
                value = operation.call(self.database, GatedBroker(self, self._broker()))
                ended: object = Returned(value)
            except ServiceError as error:
                ended = Raised(error)
            except BaseException as error:
                ended = error
            self._reports.put(Died() if self._dying else ended)

    def wait(self, point: Point, connection: Any = None) -> None:
        """Report a point and wait for the order. Raises what the order says is met there."""
        if self._dying:
            if point is Point.ROLLBACK:
                # Nothing keeps the server from undoing what one that died had begun.
                return
            raise Died
        self._reports.put(point)
        order = self._orders.get()
        self._dying = order in {Order.DIE, Order.COMMIT_AND_DIE}
        if order in {Order.COMMIT_AND_DIE, Order.COMMIT_AND_DISCONNECT}:
            # On a connection that the server has dropped this fails, as it may.
            with contextlib.suppress(psycopg2.Error):
                connection.connection.dbapi_connection.commit()
        if self._dying:
            raise Died
        if order is not Order.GO:
            raise psycopg2.OperationalError("the model lost the connection")

    def _at_statement(self, connection: Any, *_: Any) -> None:
        self.backend = connection.connection.dbapi_connection.get_backend_pid()
        self.wait(Point.STATEMENT, connection)

    def _at_commit(self, connection: Any) -> None:
        self.wait(Point.COMMIT, connection)

    def _at_rollback(self, connection: Any) -> None:
        self.wait(Point.ROLLBACK, connection)


class GatedBroker(Broker):
    """The broker as one actor sees it: it waits for its order before it publishes."""

    def __init__(self, actor: Actor, broker: Broker) -> None:
        self._actor = actor
        self._shared = broker

    def publish(self, messages: Sequence[TaskMessage]) -> bool:
        """Wait for the order, then publish."""
        self._actor.wait(Point.PUBLISH)
        return self._shared.publish(messages)

    def has_forgotten(self) -> bool:
        """Ask the shared broker."""
        return self._shared.has_forgotten()

    def oldest_messages_at(self) -> dict[QueueName, datetime | None]:
        """Ask the shared broker."""
        return self._shared.oldest_messages_at()
