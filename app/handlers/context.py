"""What a handler knows about the attempt it runs in, and what it may tell."""

import math
from dataclasses import dataclass, field

from app.domain.text import one_line

_NOTE_LIMIT = 500


@dataclass(slots=True)
class TaskContext:
    """One attempt, as its handler sees it.

    `attempt` counts from 1 and includes attempts that ended with their worker; `failures` counts
    only the attempts before this one that ended in an error of the handler.
    """

    task_id: int
    attempt: int
    failures: int
    progress_fraction: float = field(default=0.0, init=False)
    progress_note: str | None = field(default=None, init=False)

    def progress(self, fraction: float, note: str | None = None) -> None:
        """Say how much of the work is done, from 0 to 1, and optionally what happens now.

        Costs nothing: the next heartbeat takes the latest word along. Values outside the range
        are cut to it.

        Raises:
            ValueError: the fraction is not a number.
        """
        if math.isnan(fraction):
            raise ValueError("progress must be a number from 0 to 1")
        self.progress_fraction = min(max(float(fraction), 0.0), 1.0)
        self.progress_note = None if note is None else one_line(note, _NOTE_LIMIT)
