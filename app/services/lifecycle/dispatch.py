"""Puts tasks into their queues: publish, then record it.

In that order on purpose. A crash between the two publishes a message twice, which runs no task
twice; the other way round it would lose one for as long as nobody looks. A worker that is faster
than the record claims the task from NEW, and the record then finds nothing to change.
"""

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.broker.publisher import Publisher
from app.db import maintenance as store
from app.db.engine import Database
from app.domain.status import Status
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
    record(database, messages)
    return True


def record(database: Database, messages: Sequence[TaskMessage]) -> None:
    """Record that messages are in their queues, as far as their tasks still wait there.

    Raises DatabaseUnavailable.
    """
    if messages:
        with database.statement() as connection:
            store.mark_dispatched(connection, messages)


@dataclass(frozen=True, slots=True)
class _Offer:
    """Messages of tasks that were committed together."""

    messages: list[TaskMessage]
    # Whether the maintenance loop may publish them too until they are recorded.
    is_pressing: bool


class Dispatcher:
    """Dispatches beside the requests of an API process, in a thread of its own.

    A request commits its task, offers it here and answers. So no broker, down or frozen, can delay
    an answer; and whatever is offered at once is published together. What was published is recorded
    a moment later, many at a time: a task that a worker has started by then needs no record. What
    does not get through, because the broker is in trouble or the process ends, is in the task table
    and found there by the maintenance loop.
    """

    # Beyond this many waiting offers, of one task or more, the maintenance loop does the rest.
    _MOST_WAITING = 5_000
    _MOST_AT_ONCE = 500
    # Seconds that the record of new tasks may wait for more. The maintenance loop leaves them alone
    # for a whole second.
    _RECORD_AFTER = 0.025
    # After a failure the broker is left alone for this long, in seconds.
    _PAUSE = 0.5

    def __init__(self, database: Database, publisher: Publisher) -> None:
        self._database = database
        self._publisher = publisher
        self._offers: queue.Queue[_Offer | None] = queue.Queue(self._MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._stopping = threading.Event()
        # What was published and is not on record yet, and when it is to be.
        self._unrecorded: list[TaskMessage] = []
        self._record_at = math.inf

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
        is_pressing = any(task.status is not Status.NEW for task in tasks)
        try:
            self._offers.put_nowait(_Offer(messages, is_pressing))
        except queue.Full:
            log.debug("%d tasks are left to the maintenance loop", len(messages))

    def stop(self, timeout_seconds: float) -> None:
        """Dispatch what was offered, and end after `timeout_seconds` at the latest."""
        self._stopping.set()
        # With a full queue the thread looks at `_stopping` soon enough.
        with contextlib.suppress(queue.Full):
            self._offers.put_nowait(None)
        self._thread.join(timeout_seconds)

    # --- in the thread

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            goes_on = self._take_offers()
            if not goes_on or time.monotonic() >= self._record_at:
                self._record()

    def _take_offers(self) -> bool:
        """Publish all offers that wait, at most until a record is due; return False at the end."""
        batch: list[TaskMessage] = []
        is_pressing = goes_on = False
        try:
            while len(batch) < self._MOST_AT_ONCE:
                offer = self._next_offer(wait=not batch)
                if offer is None:
                    break
                batch += offer.messages
                is_pressing |= offer.is_pressing
            else:
                goes_on = True
        except queue.Empty:
            goes_on = True
        if batch and not self._publish(batch):
            self._drop_offers()
            self._stopping.wait(self._PAUSE)
        elif batch:
            self._unrecorded += batch
            enough = is_pressing or len(self._unrecorded) >= self._MOST_AT_ONCE
            due = 0.0 if enough else time.monotonic() + self._RECORD_AFTER
            self._record_at = min(self._record_at, due)
        return goes_on

    def _next_offer(self, *, wait: bool) -> _Offer | None:
        """Return the next offer; None means to end. Raises queue.Empty."""
        if not wait:
            return self._offers.get_nowait()
        if math.isinf(self._record_at):
            return self._offers.get()
        return self._offers.get(timeout=max(self._record_at - time.monotonic(), 0))

    def _publish(self, messages: list[TaskMessage]) -> bool:
        try:
            return self._publisher.publish(messages)
        except Exception:
            # A bug here must not end the thread: later tasks would all be late.
            log.exception("Could not publish %d tasks", len(messages))
            return False

    def _record(self) -> None:
        """Record what was published. If that fails, the maintenance loop publishes it again."""
        messages, self._unrecorded = self._unrecorded, []
        self._record_at = math.inf
        try:
            record(self._database, messages)
        except Unavailable as error:
            log.warning("Could not record %d dispatched tasks: %s", len(messages), error)
        except Exception:
            # As above.
            log.exception("Could not record %d dispatched tasks", len(messages))

    def _drop_offers(self) -> None:
        """Leave what waits to the maintenance loop, which knows when the broker is back."""
        while not self._stopping.is_set():
            try:
                self._offers.get_nowait()
            except queue.Empty:
                return
