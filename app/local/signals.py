"""Ctrl-C, TERM and HUP: the first asks for a stop in order, a second one for haste."""

import os
import select
import signal
from types import FrameType

from app.local.errors import StopRequested

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Counts the signals. For the main thread, the only one that Python gives signals to."""

    def __init__(self) -> None:
        self._count = 0
        # A signal writes a byte, which ends the wait in `pause` at once. An Event would not do:
        # setting one in a handler deadlocks when the handler interrupts a wait for that Event.
        self._wake, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def install(self) -> None:
        """Take over the signals, for the rest of the process."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            # `nohup` has HUP ignored, and means it. A shell has INT ignored for what it puts into
            # the background, which an explicit `kill -INT` should reach all the same.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    def pause(self, seconds: float) -> None:
        """Sleep, or until a signal comes.

        Raises:
            StopRequested: one came, now or earlier.
        """
        if not self._count:
            select.select([self._wake], [], [], seconds)
        if self._count:
            raise StopRequested

    def in_a_hurry(self) -> bool:
        """Tell whether the wish to stop was repeated."""
        return self._count > 1

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1
