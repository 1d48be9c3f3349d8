"""How long a task waits between two attempts. Pure arithmetic; it neither sleeps nor schedules."""

import random
from collections.abc import Callable
from dataclasses import dataclass

# The most attempts, and the longest pause in seconds, that a task may ask for.
MOST_ATTEMPTS = 100
LONGEST_PAUSE_SECONDS = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """A pause that grows by a constant factor up to a ceiling. Both times are in seconds.

    With `jitter` the pause is drawn evenly from zero to that length ("full jitter", AWS
    Architecture Blog, "Exponential Backoff And Jitter", 2015), so that tasks which failed together
    do not come back together.
    """

    initial_seconds: float = 1.0
    factor: float = 2.0
    max_seconds: float = 300.0
    jitter: bool = True

    def pause_seconds(self, failures: int, draw: Callable[[], float] = random.random) -> float:
        """Return the pause in seconds after the given number of failures, 1 or more.

        `draw` returns an even random number from 0 to 1.
        """
        # The exponent is bounded so that a large count cannot overflow a float.
        growth = self.factor ** min(failures - 1, 64)
        longest = min(self.initial_seconds * growth, self.max_seconds)
        return longest * draw() if self.jitter else longest
