"""Whether this machine's worker is alive: `python -m app.worker.liveness` exits 0 or 1.

The maintenance thread touches a file twice a second, and the check looks at its age. So the check
costs no connection and no Celery round trip, and holds through a broker outage, which a restart of
the worker would not mend. It promises for one worker a machine, as in a container.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

# One for each user, since the folder is everyone's and another's file could not be touched.
_FILE = Path(tempfile.gettempdir()) / f"task-manager-worker-{os.getuid()}.alive"
# Longer than a round may take while the database does not answer.
_OLDEST_SECONDS = 30.0


def touch() -> None:
    """Say that this machine's worker is alive."""
    _FILE.touch()


def main() -> int:
    """Return the exit code."""
    try:
        age = time.time() - _FILE.stat().st_mtime
    except FileNotFoundError:
        print("no worker has run here", file=sys.stderr)
        return 1
    if age > _OLDEST_SECONDS:
        print(f"the worker has been silent for {age:.0f} s", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
