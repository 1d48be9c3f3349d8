"""The terminal: one writer for all processes, so that none of them ever waits for it.

Lines that are written before the run is ready are held back; a terminal that does not take them
(paused, or a pipe that nobody reads) loses the oldest ones, never blocks a process.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable

KEPT_LINES = 10_000
# The names' colours on a terminal, one after the other: cyan, yellow, green, magenta, blue.
COLOURS = (36, 33, 32, 35, 34)
PREFIX_WIDTH = 10


class Console:
    """Writes whole lines to a file descriptor, from a thread of its own."""

    def __init__(self, descriptor: int, *, colour: bool) -> None:
        self._descriptor = descriptor
        self._colour = colour
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._held: deque[str] = deque(maxlen=KEPT_LINES)
        self._holding = True
        self._prefixes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write_all, name="console", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Write lines of our own."""
        with self._changed:
            self._lines.append(text)
            self._changed.notify()

    def prefixed(self, name: str) -> Callable[[str], None]:
        """Return a sink for one process's lines, which puts its name in front of each."""
        prefix = f"{name:<{PREFIX_WIDTH}}| "
        if self._colour:
            prefix = f"\x1b[{COLOURS[self._prefixes % len(COLOURS)]}m{prefix}\x1b[0m"
        self._prefixes += 1

        def sink(line: str) -> None:
            with self._changed:
                (self._held if self._holding else self._lines).append(prefix + line)
                self._changed.notify()

        return sink

    def release(self) -> None:
        """Write the processes' lines that were held back, and from now on at once."""
        with self._changed:
            self._holding = False
            self._lines.extend(self._held)
            self._held.clear()
            self._changed.notify()

    def close(self, seconds: float = 1.0) -> None:
        """Write what is left, for no longer than `seconds`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    if self._closing:
                        return
                    self._changed.wait()
                text = "\n".join([*self._lines, ""])
                self._lines.clear()
            self._write(text.encode(errors="replace"))

    def _write(self, data: bytes) -> None:
        # Not through sys.stdout, whose lock Python takes at its exit, even when a write hangs.
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except BlockingIOError:
            time.sleep(0.05)  # Someone set the terminal to non-blocking; these lines are lost.
        except OSError:
            pass  # The terminal is gone. The run goes on until it is told to stop.


def wants_colour(descriptor: int, no_colour: str | None) -> bool:
    """Tell whether to write in colour: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return os.isatty(descriptor) and not no_colour
