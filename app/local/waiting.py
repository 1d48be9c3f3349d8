"""Waiting for a child process, with a deadline, while others that it needs are alive."""

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
    child: Child,
    *,
    needed: Iterable[Child] = (),
    pause: Pause = time.sleep,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Return as soon as `ready`, asked every `poll_seconds`, says that `child` is.

    Raises:
        ChildDiedError: it ended, or one of the `needed` processes did.
        NotReadyError: `seconds` have passed.
    """
    children = [*needed, child]
    deadline = time.monotonic() + seconds
    while True:
        for each in children:
            each.ensure_alive()
        if ready():
            return
        if time.monotonic() > deadline:
            message = f"{child.name} was not ready within {seconds:g} s."
            raise NotReadyError(with_last_lines(message, child.last_lines()))
        pause(poll_seconds)


def wait_for_success(
    child: Child, seconds: float, *, needed: Iterable[Child] = (), pause: Pause = time.sleep
) -> None:
    """Return when `child` has ended with exit code 0; end it in any case.

    Raises:
        ChildDiedError: it ended otherwise, or one of the `needed` processes ended.
        NotReadyError: `seconds` have passed.
    """
    others = list(needed)
    deadline = time.monotonic() + seconds
    try:
        while child.exit_code is None:
            for each in others:
                each.ensure_alive()
            if time.monotonic() > deadline:
                message = f"{child.name} did not end within {seconds:g} s."
                raise NotReadyError(with_last_lines(message, child.last_lines()))
            pause(POLL_SECONDS)
        if child.exit_code != 0:
            child.ensure_alive()
    finally:
        child.kill()
