"""Stops the Python code of one attempt, and never that of another.

The trick is in who decides. A watcher thread that wants a run stopped marks the run itself and
wakes the main thread with a signal; the signal's handler, which Python runs in the main thread,
raises only if the run that is current there and then carries the mark. So a signal that comes late
finds another run, without a mark, and does nothing.

Interrupts sleep, socket and subprocess waits, loops, and anything that catches `Exception`. Code
that stays in C or catches BaseException is not; for it there is `Run.kill_process`.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from types import FrameType
from typing import TypeVar

from app.domain.task import ClaimedTask
from app.handlers.context import TaskContext
from app.handlers.errors import AttemptStopped
from app.services.terms import Terms

# Billiard and Celery use SIGUSR1; SIGUSR2 is free.
_SIGNAL = signal.SIGUSR2
# Seconds after which a run that is still there is interrupted once more: the first exception may
# have been swallowed, and a second one too soon would disturb the handler's own cleaning up.
_AGAIN_AFTER_SECONDS = 1.0

# Signals in one go, and the seconds between them.
_WAKE_TRIES, _WAKE_SECONDS = 20, 0.02
# Where an exception could leave a lock taken for ever that the whole process shares: between some
# lock's acquisition and the `try` that gives it back, as logging does it, and in an import.
_DELICATE_FUNCTIONS = {"__enter__", "__exit__", "acquire", "release"}
_DELICATE_LOGGING = {"handle", "isEnabledFor", "_acquireLock", "_releaseLock"}
_IMPORT = "importlib._bootstrap"
# What would leave a thread or a process that nobody knows of, from beginning to end.
_DELICATE_CALLS = {
    ("threading", "start"),
    ("concurrent.futures.thread", "submit"),
    ("subprocess", "__init__"),
}
# An event loop's own lines lose a callback, or leave the loop marked as running; not so while it
# waits, in `selectors`, nor in the coroutines that it runs.
_EVENT_LOOP = "asyncio."

T = TypeVar("T")


class StopReason(Enum):
    """Why an attempt is to stop."""

    CANCELLED = auto()
    # Rescued, deleted, or not renewable in time: nothing more may be written about it.
    LOST = auto()
    # It ran longer than an attempt may.
    TIMED_OUT = auto()


class Run:
    """The handler's code of one attempt, from its first line to its last."""

    def __init__(self, task: ClaimedTask, context: TaskContext, terms: Terms) -> None:
        self.task = task
        self.context = context
        context.stop_check = self._check
        # How long it may run, and what follows a failure.
        self.terms = terms
        self.stop_reason: StopReason | None = None
        # Whether the handler has been interrupted, so that what it makes of it does not count.
        self.is_interrupted = False
        self._running = True
        self._armed = False
        self._stop_since = 0.0
        self._interrupted_at = 0.0
        # Leaving the running phase and killing the process exclude each other.
        self._lock = threading.Lock()

    def call(self, handler: Callable[[], T]) -> T:
        """Call the handler in this thread, which must be the main one.

        Raises:
            AttemptStopped: the run was asked to stop and did.
        """
        global _current
        _current = self
        try:
            try:
                return handler()
            finally:
                self._leave()
        except AttemptStopped:
            # The interruption may have come just before the line above. The next one is a second
            # away, so that this time nothing disturbs.
            self._leave()
            raise

    def _check(self) -> None:
        """Raise in the handler's code, in whichever of its threads asks, if it is to stop.

        A thread that asks after the attempt is over was left behind, and is to stop as well.
        """
        if self.stop_reason is None and self._running:
            return
        if threading.current_thread() is threading.main_thread():
            # Once is enough; a second interruption would disturb the cleaning up.
            self._armed = False
        # Not once it is over: what it came to stands.
        if self._running:
            self.is_interrupted = True
        raise AttemptStopped

    def _leave(self) -> None:
        """End the running phase; a process that is being killed never comes back from here."""
        global _current
        # From this line on the signal's handler does not raise.
        self._running = False
        with self._lock:
            _current = None

    def stop(self, reason: StopReason, grace_seconds: float) -> float:
        """Ask the run to stop, from another thread; return the seconds that it has left for it.

        They count from the first asking. To be called again until the run is over: it interrupts
        once more each second.
        """
        now = time.monotonic()
        if self.stop_reason is None:
            self.stop_reason = reason
            self._stop_since = now
        deadline = self._stop_since + grace_seconds
        if now >= deadline:
            return deadline - now
        if now - self._interrupted_at >= _AGAIN_AFTER_SECONDS:
            self._interrupted_at = now
            self._armed = True
        self._wake(deadline)
        return deadline - time.monotonic()

    def _wake(self, deadline: float) -> None:
        """Send the signal until the main thread has raised, which it puts off in delicate code."""
        for _ in range(_WAKE_TRIES):
            if not (self._armed and self._running) or time.monotonic() >= deadline:
                return
            signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
            time.sleep(_WAKE_SECONDS)

    def kill_process(self, last_words: Callable[[], None]) -> None:
        """End this whole process if the handler still runs; the worker starts another.

        `last_words` is called first, while the handler can no longer finish. Its time is bounded
        by the time-outs of whatever it calls.
        """
        with self._lock:
            if not self._running:
                return
            try:
                last_words()
            finally:
                os.kill(os.getpid(), signal.SIGKILL)

    def is_to_raise(self) -> bool:
        """Return, once for each interruption, whether the main thread is to raise now."""
        if not (self._armed and self._running):
            return False
        self._armed = False
        self.is_interrupted = True
        return True


# The run of this process's main thread. Written by that thread alone.
_current: Run | None = None


def _on_signal(signal_number: int, frame: FrameType | None) -> None:
    if _current is not None and not _is_delicate(frame) and _current.is_to_raise():
        raise AttemptStopped


def _is_delicate(frame: FrameType | None) -> bool:
    if frame is None:
        return False
    function = frame.f_code.co_name
    if function in _DELICATE_FUNCTIONS:
        return True
    if function in _DELICATE_LOGGING and frame.f_globals.get("__name__") == "logging":
        return True
    if frame.f_globals.get("__name__", "").startswith(_EVENT_LOOP):
        return True
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module == _IMPORT or (module, frame.f_code.co_name) in _DELICATE_CALLS:
            return True
        frame = frame.f_back
    return False


def install() -> None:
    """Let this process's runs be interrupted. Must be called in the main thread."""
    signal.signal(_SIGNAL, _on_signal)
