"""`python -m app.local.scratch COMMAND ...`: runs a command on an empty database of its own.

The command finds the database in DATABASE_URL; both are gone when it ends. Its exit code is ours.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from app.local.errors import LocalRunError
from app.local.postgres import EmbeddedPostgres


def main(command: list[str]) -> int:
    """Run the command, and return its exit code."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="task-manager-scratch-") as folder,
            EmbeddedPostgres(Path(folder), durable=False) as server,
        ):
            environment = {**os.environ, "DATABASE_URL": server.url()}
            return subprocess.run(command, check=False, env=environment).returncode
    except LocalRunError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
