"""Gathers what many requests ask for at the same time, and does it at once in one thread.

The event loop hands over what has come in; while the thread works on that, more comes in, and is
its next batch. So the work of a batch is shared by as many requests as there are, and a request
that comes alone waits for nobody (group commit: DeWitt et al., "Implementation Techniques for Main
Memory Database Systems", 1984). What waits is bounded in number, in weight and in time.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from app.errors import DatabaseUnavailable, Overloaded, Unavailable

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

log = logging.getLogger(__name__)


class _Entry(Generic[Item, Outcome]):
    """One request's wish, and the future that its answer is awaited with."""

    __slots__ = ("future", "item", "weight")

    def __init__(self, item: Item, weight: int, future: asyncio.Future[Outcome]) -> None:
        self.item = item
        self.weight = weight
        self.future = future


class Batcher(Generic[Item, Outcome]):
    """Does `work` on batches of what is submitted, in a thread that it owns.

    `work` returns an outcome for each item, in their order; an exception in place of one is raised
    where that item was submitted, and one that it raises itself at every item of the batch. All
    methods but `close` are for the event loop's thread.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[list[Item]], Sequence[Outcome | Exception]],
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
        only what finds the thread idle is tried.
        """
        self._work = work
        self._most_waiting = most_waiting
        self._most_at_once = most_at_once
        self._most_weight = most_weight
        self._patience_seconds = patience_seconds
        self._weigh = weigh
        self._is_hopeless = is_hopeless
        self._waiting = 0
        self._weight = 0
        # What came in during this turn of the event loop.
        self._gathered: list[_Entry[Item, Outcome]] = []
        self._handed_over: queue.SimpleQueue[list[_Entry[Item, Outcome]] | None] = (
            queue.SimpleQueue()
        )
        self._rest: list[_Entry[Item, Outcome]] = []
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; its answers go to the loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def submit(self, item: Item) -> Outcome:
        """Have an item worked on and return its outcome.

        Raises:
            Overloaded: too much waits already.
            DatabaseUnavailable: it has waited for too long; what becomes of it is not known.
        """
        weight = self._weigh(item)
        if self._waiting >= self._most_waiting or (
            self._waiting and self._weight + weight > self._most_weight
        ):
            raise Overloaded(f"{self._waiting} requests wait already, which is as many as may.")
        if self._waiting and self._is_hopeless():
            raise DatabaseUnavailable("PostgreSQL does not answer.")
        entry = _Entry[Item, Outcome](item, weight, self._loop.create_future())
        if not self._gathered:
            # After this turn of the loop, which may bring more.
            self._loop.call_soon(self._hand_over)
        self._gathered.append(entry)
        self._waiting += 1
        self._weight += weight
        timer = self._loop.call_later(self._patience_seconds, _give_up, entry.future)
        try:
            return await entry.future
        finally:
            timer.cancel()
            self._waiting -= 1
            self._weight -= weight

    def close(self, timeout_seconds: float) -> None:
        """Work on what was submitted before, and end after `timeout_seconds` at the latest."""
        self._handed_over.put(None)
        self._thread.join(timeout_seconds)

    def _hand_over(self) -> None:
        self._handed_over.put(self._gathered)
        self._gathered = []

    # --- in the thread

    def _run(self) -> None:
        while batch := self._next_batch():
            # Whoever went away or gave up before anything was done for it gets nothing done.
            wanted = [entry for entry in batch if not entry.future.done()]
            if not wanted:
                continue
            outcomes: Sequence[Outcome | Exception]
            try:
                outcomes = self._work([entry.item for entry in wanted])
            except Exception as error:
                if not isinstance(error, Unavailable):
                    # A bug must not end the thread: nobody would ever be answered again.
                    log.exception("A batch of %d failed", len(wanted))
                outcomes = [error] * len(wanted)
                if self._is_hopeless():
                    wanted += self._all_others()
                    outcomes = [error] * len(wanted)
            # The loop is closed once the process has stopped waiting for its answers.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_answer, wanted, outcomes)

    def _next_batch(self) -> list[_Entry[Item, Outcome]]:
        """Wait for something to do and return all that there is of it; nothing means to end."""
        batch = self._rest or self._handed_over.get() or []
        with contextlib.suppress(queue.Empty):
            while batch and len(batch) < self._most_at_once:
                more = self._handed_over.get_nowait()
                if more is None:
                    # The end was asked for; what came before it is still done.
                    self._handed_over.put(None)
                    break
                batch = [*batch, *more]
        batch, self._rest = batch[: self._most_at_once], batch[self._most_at_once :]
        return batch

    def _all_others(self) -> list[_Entry[Item, Outcome]]:
        """Return what waits for its turn, which would be in vain too."""
        others, self._rest = self._rest, []
        with contextlib.suppress(queue.Empty):
            while more := self._handed_over.get_nowait():
                others += more
            self._handed_over.put(None)
        return others


def _answer(
    entries: Sequence[_Entry[Item, Outcome]], outcomes: Sequence[Outcome | Exception]
) -> None:
    for entry, outcome in zip(entries, outcomes, strict=True):
        if entry.future.done():
            continue
        if isinstance(outcome, Exception):
            entry.future.set_exception(outcome)
        else:
            entry.future.set_result(outcome)


def _give_up(future: asyncio.Future[Outcome]) -> None:
    if not future.done():
        future.set_exception(DatabaseUnavailable("PostgreSQL gave no answer in time."))
