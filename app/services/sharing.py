"""Does once what many ask for at the same time, for those who poll the same thing.

Whoever asks gets what was done after it asked, never an earlier answer: this is no cache.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from app.errors import Overloaded

Key = TypeVar("Key", bound=Hashable)
Outcome = TypeVar("Outcome")


class Shared(Generic[Key, Outcome]):
    """Awaits `work` for each key, for all who ask before it begins.

    Of one key at most one piece of work is under way, and one is about to begin; different keys
    have nothing to do with each other. To be used in one event loop.
    """

    def __init__(
        self,
        work: Callable[[Key], Awaitable[Outcome]],
        *,
        most_waiting: int,
        patience_seconds: float,
    ) -> None:
        """Prepare; nothing is started.

        `most_waiting` may wait for outcomes at a time. Work begins beside an earlier one of its key
        that takes more than `patience_seconds`.
        """
        self._work = work
        self._most_waiting = most_waiting
        self._count = 0
        self._patience_seconds = patience_seconds
        self._next: dict[Key, asyncio.Task[Outcome]] = {}
        self._under_way: dict[Key, asyncio.Task[Outcome]] = {}

    async def get(self, key: Key) -> Outcome:
        """Return the outcome of work that began after this call.

        Raises:
            Overloaded: too many wait already.
            Exception: whatever the work raises.
        """
        if self._count >= self._most_waiting:
            raise Overloaded(f"{self._count} requests wait already, which is as many as may.")
        following = self._next.get(key)
        if following is None:
            following = asyncio.get_running_loop().create_task(self._run(key))
            following.add_done_callback(_take_note)
            self._next[key] = following
        self._count += 1
        try:
            # One that goes away takes nothing from the others.
            return await asyncio.shield(following)
        finally:
            self._count -= 1

    async def _run(self, key: Key) -> Outcome:
        if (earlier := self._under_way.get(key)) is not None:
            await asyncio.wait([earlier], timeout=self._patience_seconds)
        # It begins: whoever asks from here on may know of something newer.
        this = self._under_way[key] = self._next.pop(key)
        try:
            return await self._work(key)
        finally:
            if self._under_way.get(key) is this:
                del self._under_way[key]


def _take_note(done: asyncio.Task[Outcome]) -> None:
    """Keep asyncio from complaining of an error when all who asked have gone away."""
    if not done.cancelled():
        done.exception()
