"""`python -m app.local`: runs the whole service on this machine until Ctrl-C.

With `--with-parent` (Linux) it also stops when its parent, such as make, dies. Exits with 0 after
a stop that was asked for, and with 1 after one message on standard error otherwise.
"""

import sys

OLDEST_PYTHON = (3, 11)

if sys.version_info < OLDEST_PYTHON:
    sys.exit(
        "Python 3.11 or newer is needed, this is {}.{} ({}).".format(
            *sys.version_info[:2], sys.executable
        )
    )

from app.local.main import main  # noqa: E402 - an older Python does not understand the rest

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
