"""Gathers what many requests ask for at the same time, and does it at once.

The event loop hands over what has come in; while that is worked on, more comes in, and is the next
batch. So the work of a batch is shared by as many requests as there are, and a request that comes
alone waits for nobody (group commit: DeWitt et al., "Implementation Techniques for Main Memory
Database Systems", 1984). What waits is bounded in number, in weight and in time.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.errors import DatabaseUnavailable, Overloaded, Unavailable
from app.services.patience import Patience

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

log = logging.getLogger(__name__)


class _Entry(Generic[Item, Outcome]):
    """One request's wish, and the future that its answer is awaited with."""

    __slots__ = ("future", "item")

    def __init__(self, item: Item, future: asyncio.Future[Outcome]) -> None:
        self.item = item
        self.future = future


class Batcher(Generic[Item, Outcome]):
    """Awaits `work` for batches of what is submitted, one batch after another.

    `work` returns an outcome for each item, in their order; an exception in place of one is raised
    where that item was submitted, and one that it raises itself at every item of the batch. To be
    used in one event loop.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Awaitable[Sequence[Outcome | Exception]]],
        *,
        most_waiting: int,
        most_at_once: int,
        most_weight: int,
        patience_seconds: float,
        weigh: Callable[[Item], int],
        is_hopeless: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare; nothing is started.

        `most_waiting` items of `most_weight` in all may wait or be worked on at a time, and a batch
        has `most_at_once` of them at most. Each waits for `patience_seconds`. While `is_hopeless`,
        only what comes alone is tried.
        """
        self._work = work
        self._most_waiting = most_waiting
        self._most_at_once = most_at_once
        self._most_weight = most_weight
        self._patience: Patience[asyncio.Future[Outcome]] = Patience(patience_seconds, _give_up)
        self._weigh = weigh
        self._is_hopeless = is_hopeless
        self._waiting: deque[_Entry[Item, Outcome]] = deque()
        # How many wait or are worked on, and their weight.
        self._count = 0
        self._weight = 0
        self._is_closed = False
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work, in the loop that runs now."""
        self._worker = asyncio.get_running_loop().create_task(self._run())

    async def submit(self, item: Item) -> Outcome:
        """Have an item worked on and return its outcome.

        Raises:
            Overloaded: too much waits already.
            DatabaseUnavailable: it has waited for too long; what becomes of it is not known.
        """
        weight = self._weigh(item)
        if self._count >= self._most_waiting or (
            self._count and self._weight + weight > self._most_weight
        ):
            raise Overloaded(f"{self._count} requests wait already, which is as many as may.")
        if self._count and self._is_hopeless():
            raise DatabaseUnavailable("PostgreSQL does not answer.")
        entry = _Entry[Item, Outcome](item, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._wake.set()
        self._count += 1
        self._weight += weight
        self._patience.begin(entry.future)
        try:
            return await entry.future
        finally:
            self._patience.end(entry.future)
            self._count -= 1
            self._weight -= weight

    async def close(self, timeout_seconds: float) -> None:
        """Work on what was submitted before, and end after `timeout_seconds` at the latest."""
        self._is_closed = True
        self._wake.set()
        if self._worker is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._worker, timeout_seconds)

    async def _run(self) -> None:
        while self._waiting or not self._is_closed:
            await self._wake.wait()
            self._wake.clear()
            while batch := self._next_batch():
                await self._do(batch)

    def _next_batch(self) -> list[_Entry[Item, Outcome]]:
        """Return what waits, but whoever went away or gave up: for them nothing is begun."""
        batch: list[_Entry[Item, Outcome]] = []
        while self._waiting and len(batch) < self._most_at_once:
            entry = self._waiting.popleft()
            if not entry.future.done():
                batch.append(entry)
        return batch

    async def _do(self, batch: list[_Entry[Item, Outcome]]) -> None:
        outcomes: Sequence[Outcome | Exception]
        try:
            outcomes = await self._work([entry.item for entry in batch])
        except Exception as error:
            if not isinstance(error, Unavailable):
                # A bug must not end the worker: nobody would ever be answered again.
                log.exception("A batch of %d failed", len(batch))
            if self._is_hopeless():
                # What waits behind it would wait in vain.
                batch += self._waiting
                self._waiting.clear()
            outcomes = [error] * len(batch)
        for entry, outcome in zip(batch, outcomes, strict=True):
            if entry.future.done():
                continue
            if isinstance(outcome, Exception):
                entry.future.set_exception(outcome)
            else:
                entry.future.set_result(outcome)


def _give_up(future: asyncio.Future[Outcome]) -> None:
    if not future.done():
        future.set_exception(DatabaseUnavailable("PostgreSQL gave no answer in time."))
