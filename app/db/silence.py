"""Remembers that PostgreSQL has fallen silent, so that not everybody waits for the same nothing.

A server that hangs costs each request a whole time-out and its thread meanwhile; requests that
queue for a thread would wait for several. Once one wait has been in vain, one caller at a time
tries again, and the others are turned away at once until somebody has been answered. A server
that refuses says so itself, and is no case for this.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# How long others wait for the one that tries: a server that is well again answers within this
# time, in seconds, so that nobody is turned away by mistake.
_PATIENCE = 0.2


class StillSilentError(Exception):
    """Nobody has been answered yet; somebody else is trying."""


class Silence:
    """One for each engine. Every method may be called from any thread."""

    def __init__(self, patience_seconds: float = _PATIENCE) -> None:
        """Start without a silence. In an event loop nobody may wait: `patience_seconds` is 0."""
        self._patience = patience_seconds
        self._is_silent = False
        # Since when somebody tries, by time.monotonic().
        self._tried_since: float | None = None
        self._changed = threading.Condition()

    @property
    def is_silent(self) -> bool:
        """Whether nobody has been answered since a wait was in vain."""
        return self._is_silent

    def note(self) -> None:
        """Remember that a wait for an answer was in vain."""
        self._is_silent = True

    def end(self) -> None:
        """Forget the silence, because there was an answer."""
        if self._is_silent:
            with self._changed:
                self._is_silent = False
                self._changed.notify_all()

    @contextmanager
    def respected(self) -> Iterator[None]:
        """Let the block run unless it would be in vain.

        Raises:
            StillSilentError: before the block, which has not begun.
        """
        tries = self._is_silent and self._may_try()
        try:
            yield
        finally:
            if tries:
                with self._changed:
                    self._tried_since = None
                    self._changed.notify_all()

    def _may_try(self) -> bool:
        """Return whether the caller is to try for all; False when there is no need any more."""
        with self._changed:
            if self._is_silent and self._tried_since is not None:
                left = self._tried_since + self._patience - time.monotonic()
                self._changed.wait_for(self._is_decided, max(left, 0))
            if not self._is_silent:
                return False
            if self._tried_since is not None:
                raise StillSilentError
            self._tried_since = time.monotonic()
            return True

    def _is_decided(self) -> bool:
        return not self._is_silent or self._tried_since is None
