"""What a handler knows about the attempt it runs in, and what it may tell."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from app.domain.text import one_line
from app.handlers.lines import LogLines, TaskLogger
from app.settings import get_settings


def _within(fraction: float) -> float:
    return float(min(max(fraction, 0.0), 1.0))


def _never() -> bool:
    return False


@dataclass(slots=True)
class TaskContext:
    """One attempt, as its handler sees it.

    `attempt` counts from 1 and includes attempts that ended with their worker; `failures` counts
    only the attempts before this one that ended in an error of the handler. `idempotency_token` is
    the same for every attempt of a task and for no other task: hand it to whatever you change, so
    that a second attempt at it changes nothing twice. What `logger` is told appears in the
    worker's log and at GET /tasks/{id}/logs.
    """

    task_id: int
    attempt: int
    failures: int
    idempotency_token: str = ""
    progress_fraction: float = field(default=0.0, init=False)
    progress_note: str | None = field(default=None, init=False)
    lines: LogLines = field(init=False, repr=False)
    logger: TaskLogger = field(init=False, repr=False)
    # Raises AttemptStopped when the attempt is to stop; whoever runs the handler sets it.
    stop_check: Callable[[], object] = field(default=_never, init=False, repr=False)

    def __post_init__(self) -> None:
        settings = get_settings()
        self.lines = LogLines(
            self.attempt, settings.max_log_lines, settings.max_log_line_characters
        )
        self.logger = TaskLogger(self.task_id, self.attempt, self.lines)

    def progress(self, fraction: float, note: str | None = None) -> None:
        """Say how much of the work is done, from 0 to 1, and optionally what happens now.

        Costs nothing: the next heartbeat takes the latest word along. Values outside the range
        are cut to it, and so is a note that is longer than MAX_NOTE_CHARACTERS.

        Raises:
            ValueError: the fraction is not a number.
        """
        # First cut to the range: a whole number may be too large for a float. No comparison with a
        # NaN is true, so that one stays.
        if not isinstance(fraction, int | float) or math.isnan(within := _within(fraction)):
            raise ValueError("progress must be a number from 0 to 1")
        self.progress_fraction = within
        limit = get_settings().max_note_characters
        self.progress_note = None if note is None else one_line(str(note), limit)

    def stored_fraction(self) -> float:
        """Return the progress as it can be stored, also if it was not set by `progress()`."""
        fraction: object = self.progress_fraction
        within = _within(fraction) if isinstance(fraction, int | float) else 0.0
        return 0.0 if math.isnan(within) else within

    def check_cancelled(self) -> None:
        """Return while the attempt may go on. Costs nothing.

        Only code that cannot be interrupted needs this: threads of its own, long calls into C.

        Raises:
            AttemptStopped: the task was cancelled or deleted, ran out of time, or was lost.
        """
        self.stop_check()
