"""Puts tasks into their queues: publish, then record it.

In that order on purpose. A crash between the two publishes a message twice, which runs no task
twice; the other way round it would lose one for as long as nobody looks. A worker that is faster
than the record claims the task from NEW, and the record then finds nothing to change.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence

from app.broker.loop_publisher import LoopPublisher
from app.broker.publisher import Publisher
from app.db import maintenance as store
from app.db.engine import Database, in_event_loop
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


class Dispatcher:
    """Dispatches beside the requests of an API process, in its event loop.

    A request commits its task, offers it here and answers. So no broker, down or frozen, can delay
    an answer; and whatever is offered at once is published together. What was published is recorded
    a moment later, many at a time: a task that a worker has started by then needs no record. What
    does not get through, because the broker is in trouble or the process ends, is in the task table
    and found there by the maintenance loop.
    """

    # Beyond this many waiting tasks the maintenance loop does the rest.
    _MOST_WAITING = 10_000
    _MOST_AT_ONCE = 200
    # Seconds from the first message to the record of all since. The maintenance loop leaves new
    # tasks alone for a whole second.
    _RECORD = 0.024
    # No more than so many are no crowd and go out at once, each with its round trip to the broker.
    # Where more came together, more are coming, and so many seconds bring them together too.
    _FEW, _GATHER = 2, 0.008
    # After a failure the broker is left alone for this long, in seconds.
    _PAUSE = 0.5

    def __init__(self, database: Database, publisher: LoopPublisher) -> None:
        """Prepare; `database` is one for the event loop."""
        self._database = database
        self._publisher = publisher
        self._offers: deque[TaskMessage] = deque()
        # Published and not on record yet; and whether the maintenance loop may publish one of them
        # meanwhile, as it does at once with a task that is not new.
        self._unrecorded: list[TaskMessage] = []
        self._is_pressing = False
        self._is_stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to dispatch, in the loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._worker = self._loop.create_task(self._run())

    def offer(self, tasks: Sequence[Task]) -> None:
        """Hand over tasks whose rows are committed and wait to be published, from any thread.

        Never blocks.
        """
        if len(self._offers) >= self._MOST_WAITING:
            log.debug("%d tasks are left to the maintenance loop", len(tasks))
            return
        self._is_pressing |= any(task.status is not Status.NEW for task in tasks)
        self._offers.extend(
            TaskMessage(
                task_id=task.id,
                queue=task.queue,
                type=task.type,
                title=task.title,
                # The time of the transaction that just stored or moved it, by the database's clock.
                dispatched_at=task.updated_at,
            )
            for task in tasks
        )
        if self._loop is None:
            return
        try:
            is_here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_here = False
        if is_here:
            self._wake.set()
        else:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def stop(self, timeout_seconds: float) -> None:
        """Dispatch what was offered, and end after `timeout_seconds` at the latest."""
        self._is_stopping = True
        self._wake.set()
        if self._worker is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._worker, timeout_seconds)

    async def _run(self) -> None:
        while not self._is_stopping or self._offers:
            if not self._offers:
                await self._wake.wait()
            await self._publish_until_record()
            await self._record()

    async def _publish_until_record(self) -> None:
        loop = asyncio.get_running_loop()
        record_at = loop.time() + self._RECORD
        while True:
            self._wake.clear()
            is_crowded = len(self._offers) > self._FEW
            if not await self._publish_offers(record_at):
                return
            left = record_at - loop.time()
            if left <= 0:
                return
            if is_crowded:
                await asyncio.sleep(min(self._GATHER, left))
            elif not await self._is_offered_within(left):
                return

    async def _is_offered_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _publish_offers(self, record_at: float) -> bool:
        """Publish what is offered; return whether more may be published before the record.

        Where offers come faster than they are published, there are always some left: the record
        waits for no more than its time and one batch.
        """
        loop = asyncio.get_running_loop()
        while self._offers:
            room = self._MOST_AT_ONCE - len(self._unrecorded)
            batch = [self._offers.popleft() for _ in range(min(len(self._offers), room))]
            if not await self._publish(batch):
                # The rest is for the maintenance loop, which knows when the broker is back.
                self._offers.clear()
                await asyncio.sleep(self._PAUSE)
                return False
            self._unrecorded += batch
            is_enough = self._is_pressing or len(self._unrecorded) >= self._MOST_AT_ONCE
            if is_enough or loop.time() >= record_at:
                return False
        return not self._is_stopping

    async def _publish(self, messages: list[TaskMessage]) -> bool:
        try:
            return await self._publisher.publish(messages)
        except Exception:
            # A bug here must not end the dispatcher: later tasks would all be late.
            log.exception("Could not publish %d tasks", len(messages))
            return False

    async def _record(self) -> None:
        """Record what was published. If that fails, the maintenance loop publishes it again."""
        messages, self._unrecorded = self._unrecorded, []
        self._is_pressing = False
        try:
            await in_event_loop(record, self._database, messages)
        except Unavailable as error:
            log.warning("Could not record %d dispatched tasks: %s", len(messages), error)
        except Exception:
            # As above.
            log.exception("Could not record %d dispatched tasks", len(messages))
