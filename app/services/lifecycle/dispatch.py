"""Puts tasks into their queues: publish, then record it.

In that order on purpose. A crash between the two publishes a message twice, which runs no task
twice; the other way round it would lose one for as long as nobody looks. A worker that is faster
than the record claims the task from NEW, and the record then finds nothing to change.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Sequence

from app.broker.publisher import Publisher
from app.db import maintenance as store
from app.db.engine import Database
from app.domain.task import Task, TaskMessage
from app.errors import Unavailable

log = logging.getLogger(__name__)


def dispatch(database: Database, publisher: Publisher, messages: Sequence[TaskMessage]) -> bool:
    """Publish messages and record the tasks as PENDING; return whether they were published.

    When the broker fails halfway nothing is recorded, because it may have lost what it had just
    accepted; what it has not lost is then doubled.

    Raises:
        DatabaseUnavailable: they were published but not recorded; maintenance will do it again.
    """
    if not publisher.publish(messages):
        return False
    with database.statement() as connection:
        store.mark_dispatched(connection, messages)
    return True


class Dispatcher:
    """Dispatches beside the requests of an API process, in a thread of its own.

    A request commits its task, offers it here and answers. So no broker, down or frozen, can delay
    an answer; and whatever is offered at once is published and recorded together. What does not
    get through, because the broker is in trouble or the process ends, is in the task table and
    found there by the maintenance loop.
    """

    # Beyond this many waiting offers, of one task or more, the maintenance loop does the rest.
    _MOST_WAITING = 5_000
    _MOST_AT_ONCE = 500
    # After a failure the broker is left alone for this long, in seconds.
    _PAUSE = 0.5

    def __init__(self, database: Database, publisher: Publisher) -> None:
        self._database = database
        self._publisher = publisher
        self._offers: queue.Queue[list[TaskMessage] | None] = queue.Queue(self._MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to dispatch."""
        self._thread.start()

    def offer(self, tasks: Sequence[Task]) -> None:
        """Hand over tasks whose rows are committed and wait to be published. Never blocks."""
        messages = [
            TaskMessage(
                task_id=task.id,
                queue=task.queue,
                type=task.type,
                title=task.title,
                # The time of the transaction that just stored or moved it, by the database's clock.
                dispatched_at=task.updated_at,
            )
            for task in tasks
        ]
        try:
            self._offers.put_nowait(messages)
        except queue.Full:
            log.debug("%d tasks are left to the maintenance loop", len(messages))

    def stop(self, timeout_seconds: float) -> None:
        """Dispatch what was offered, and end after `timeout_seconds` at the latest."""
        self._stopping.set()
        # With a full queue the thread looks at `_stopping` soon enough.
        with contextlib.suppress(queue.Full):
            self._offers.put_nowait(None)
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            try:
                is_published = dispatch(self._database, self._publisher, batch)
            except Unavailable as error:
                log.warning("Could not record %d dispatched tasks: %s", len(batch), error)
                is_published = False
            except Exception:
                # A bug here must not end the thread: later tasks would all be late.
                log.exception("Could not dispatch %d tasks", len(batch))
                is_published = False
            if not is_published:
                self._drop_offers()
                self._stopping.wait(self._PAUSE)

    def _next_batch(self) -> list[TaskMessage] | None:
        """Wait for an offer and return it with all others that wait; None means to end."""
        batch: list[TaskMessage] = []
        while len(batch) < self._MOST_AT_ONCE:
            try:
                offer = self._offers.get(block=not batch)
            except queue.Empty:
                break
            if offer is None:
                # The end was asked for; what came before it is still dispatched.
                self._offers.put(None)
                return batch or None
            batch += offer
        return batch

    def _drop_offers(self) -> None:
        """Leave what waits to the maintenance loop, which knows when the broker is back."""
        while not self._stopping.is_set():
            try:
                self._offers.get_nowait()
            except queue.Empty:
                return
