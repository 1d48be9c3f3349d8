"""How long a task waits between two attempts. Pure arithmetic; it neither sleeps nor schedules."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """A pause that grows by a constant factor up to a ceiling. Both times are in seconds."""

    initial_seconds: float = 1.0
    factor: float = 2.0
    max_seconds: float = 60.0

    def pause_seconds(self, failures: int) -> float:
        """Return the pause in seconds after the given number of failures, 1 or more."""
        # The exponent is bounded so that a large count cannot overflow a float.
        growth = self.factor ** min(failures - 1, 64)
        return min(self.initial_seconds * growth, self.max_seconds)
