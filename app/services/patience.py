"""One timer for many waits that may all last equally long.

A timer for each of some thousand waits a second, of which hardly any ever runs out, costs more than
most of what is waited for. Of waits with the same length the first to begin is the first to run
out, so that it is enough to look at that one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Waiting = TypeVar("Waiting")


class Patience(Generic[Waiting]):
    """Who waits, in the order of their beginning. To be used in one event loop at a time."""

    def __init__(self, seconds: float, give_up: Callable[[Waiting], None]) -> None:
        """Prepare; `give_up` is called, once, with whoever has waited for so many seconds."""
        self._seconds = seconds
        self._give_up = give_up
        # Since when, by the loop's clock. Of a plain dict the first one is found slowly once many
        # before it are gone.
        self._began: OrderedDict[Waiting, float] = OrderedDict()
        # Where a look is due.
        self._timed_in: asyncio.AbstractEventLoop | None = None

    def begin(self, waiting: Waiting) -> None:
        """Note that somebody begins to wait, or begins anew."""
        loop = asyncio.get_running_loop()
        self._began[waiting] = loop.time()
        self._began.move_to_end(waiting)
        if self._timed_in is not loop:
            self._look_in(loop, self._seconds)

    def end(self, waiting: Waiting) -> None:
        """Note that somebody waits no more."""
        self._began.pop(waiting, None)

    def _look_in(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._timed_in = loop
        loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """Give up who has waited for too long, and look again when the next one may have."""
        loop = asyncio.get_running_loop()
        self._timed_in = None
        if not self._began:
            return
        longest, began = next(iter(self._began.items()))
        left = began + self._seconds - loop.time()
        if left > 0:
            self._look_in(loop, left)
            return
        del self._began[longest]
        # First, so that the others are given up in their turn whatever becomes of this one.
        self._look_in(loop, 0)
        self._give_up(longest)
