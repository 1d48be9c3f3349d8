"""Says in the log that Redis takes no messages, without a line for each of them."""

import logging
import math
import re
import time
from collections.abc import Callable

# How soon it is said again, in seconds: for another reason, and where nothing has changed.
_NEW_REASON_SECONDS, _SAY_AGAIN_SECONDS = 5.0, 60.0

# What redis-py writes before what Redis says: the command, and so the title of a task.
_COMMAND = re.compile(r"^Command # \d+ .* of pipeline caused error: ", re.DOTALL)

log = logging.getLogger(__name__)


class Outage:
    """One for each publisher, which tells it how every try to publish went.

    Threads may share one: the worst that can come of it is a line twice.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without trouble; `clock` counts seconds."""
        self._clock = clock
        self._began_at: float | None = None
        # What was not accepted since then, in messages, one that was tried again each time.
        self._refused = 0
        self._said_at = 0.0
        self._reason = ""

    def note(self, messages: int, error: BaseException) -> None:
        """Note that so many messages were not accepted, and why; most times without a line."""
        at = self._clock()
        reason = _COMMAND.sub("", str(error)) or type(error).__name__
        if self._began_at is None:
            self._began_at, self._refused, self._said_at = at, 0, -math.inf
        self._refused += messages
        pause = _SAY_AGAIN_SECONDS if reason == self._reason else _NEW_REASON_SECONDS
        if at - self._said_at < pause:
            return
        self._said_at, self._reason = at, reason
        log.warning(
            "Could not publish %d messages in %.0f s; their tasks wait in the database: %s",
            self._refused,
            at - self._began_at,
            reason,
        )

    def end(self) -> None:
        """Note that messages were accepted."""
        if self._began_at is not None:
            log.info("Redis takes messages again after %.1f s", self._clock() - self._began_at)
            self._began_at = None
