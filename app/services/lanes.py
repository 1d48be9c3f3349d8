"""Lets a few at a time do what takes a database connection of the event loop's, in their order."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from app.db.engine import in_event_loop
from app.errors import DatabaseUnavailable, Overloaded

T = TypeVar("T")


class Lanes:
    """One for each kind of work; a slow piece of it takes one lane and leaves the others."""

    def __init__(self, count: int, *, most_waiting: int, patience_seconds: float) -> None:
        """Open `count` lanes, for which `most_waiting` may wait, each for `patience_seconds`."""
        self._free = asyncio.Semaphore(count)
        self._most = count + most_waiting
        self._patience_seconds = patience_seconds
        self._here = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Call `work` in the event loop and return what it returns.

        Raises:
            Overloaded: too many wait already.
            DatabaseUnavailable: no lane became free in time; whatever `work` raises.
        """
        if self._here >= self._most:
            raise Overloaded(f"{self._here} requests wait already, which is as many as may.")
        self._here += 1
        try:
            if self._free.locked():
                await self._wait()
            else:
                await self._free.acquire()
            try:
                return await in_event_loop(work)
            finally:
                self._free.release()
        finally:
            self._here -= 1

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise DatabaseUnavailable("PostgreSQL is busy with earlier requests.") from None
