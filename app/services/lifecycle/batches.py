"""The size of a maintenance step: some batches, and no more of them than there is time for."""

import time
from collections.abc import Iterator

# Rows in one statement: enough for thousands a second, little enough to be over at once.
BATCH = 500
# Seconds after which a step of a round leaves the rest to the next round, so that neither the other
# steps nor the worker's own sign of life wait for long.
_STEP_SECONDS = 0.5


def batches() -> Iterator[None]:
    """Yield once for each batch that there is time for, at least once."""
    deadline = time.monotonic() + _STEP_SECONDS
    yield
    while time.monotonic() < deadline:
        yield
