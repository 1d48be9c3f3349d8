"""Waiting for a condition, with a deadline, while the processes that it needs are alive."""

import time
from collections.abc import Callable, Iterable

from app.local.children import Child
from app.local.errors import NotReadyError, with_last_lines

# Sleeps for the given seconds, and may raise StopRequested.
Pause = Callable[[float], None]

POLL_SECONDS = 0.02


def wait_until(
    ready: Callable[[], bool],
    seconds: float,
    what: str,
    needed: Iterable[Child],
    pause: Pause = time.sleep,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Return as soon as `ready` says so; it is asked every `poll_seconds`.

    Raises:
        ChildDiedError: one of the `needed` processes ended.
        NotReadyError: `seconds` have passed; the message names `what`.
    """
    children = list(needed)
    deadline = time.monotonic() + seconds
    while True:
        for child in children:
            child.ensure_alive()
        if ready():
            return
        if time.monotonic() > deadline:
            last_lines = children[-1].last_lines() if children else []
            message = f"{what} was not ready within {seconds:g} s."
            raise NotReadyError(with_last_lines(message, last_lines))
        pause(poll_seconds)
