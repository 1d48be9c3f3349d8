"""Whether this machine's worker is alive and takes messages: `python -m app.worker.liveness`.

It exits with 0 or 1. The maintenance thread touches a file twice a second, and the check looks at
the file's age, and at its content, which is why a worker that lives is no use (`consumption`). So
the check costs no connection and no Celery round trip, and holds through a broker outage, which a
restart of the worker would not mend. It promises for one worker a machine, as in a container.
"""

import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from tempfile import NamedTemporaryFile

# One for each user, since the folder is everyone's and another's file could not be touched.
_FILE = Path(tempfile.gettempdir()) / f"task-manager-worker-{os.getuid()}.alive"
# Longer than a round may take while the database does not answer.
_OLDEST_SECONDS = 30.0

log = logging.getLogger(__name__)


class Report:
    """What a worker says of itself in the file, again and again."""

    def __init__(self) -> None:
        self._written: str | None = None
        self._trouble: int | None = None

    def write(self, complaint: str) -> None:
        """Say that this machine's worker is alive, and a `complaint` when it is no use so.

        A file that cannot be written is logged once, and stands in nobody's way but the check's.
        """
        try:
            if complaint == self._written and _FILE.exists():
                # Needs no space, so that a disk that is full makes no worker look dead.
                os.utime(_FILE)
            else:
                _replace(complaint)
                self._written = complaint
            self._trouble = None
        except OSError as error:
            # Not its text, in which the new file's name is another each time.
            if error.errno != self._trouble:
                log.error("The liveness check cannot be told of this worker: %s", error)
            self._trouble = error.errno


def _replace(complaint: str) -> None:
    """Put a new file in place of the old one, so that the check never reads half a line."""
    with NamedTemporaryFile(
        "w", encoding="utf-8", prefix=f"{_FILE.name}.", dir=_FILE.parent, delete=False
    ) as file:
        new = Path(file.name)
        try:
            file.write(complaint)
            file.flush()
            new.replace(_FILE)
        except OSError:
            new.unlink()
            raise


def main() -> int:
    """Return the exit code; print why, in one line, when it is not 0."""
    try:
        with _FILE.open(encoding="utf-8") as file:
            age = time.time() - os.fstat(file.fileno()).st_mtime
            complaint = file.read()
    except FileNotFoundError:
        complaint, age = "no worker has run here", 0.0
    if age > _OLDEST_SECONDS:
        complaint = f"the worker has been silent for {age:.0f} s"
    if complaint:
        print(complaint, file=sys.stderr)
    return 1 if complaint else 0


if __name__ == "__main__":
    sys.exit(main())
