"""The folder that outlives a run: locked by one run at a time, and the secrets in it."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.local.errors import LocalRunError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the folder if need be, and hold it for this process alone.

    The lock ends with the process, however that ends.

    Raises:
        LocalRunError: another run holds it, or it cannot be written.
    """
    lock_file = folder / "lock"
    try:
        # Others may pass through, as the user that the servers run as has to, but not look.
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LocalRunError(
            f"The data folder {folder} cannot be used ({error.strerror}); "
            "choose another: DATA_DIR=..."
        ) from None
    with os.fdopen(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock.read().strip()
            raise LocalRunError(
                f"Another run (process {holder}) uses the data in {folder}. "
                "Stop it, or choose another folder: DATA_DIR=..."
            ) from None
        except OSError as error:
            raise LocalRunError(
                f"The data folder {folder} cannot be locked ({error.strerror}); "
                "choose one on a local disk: DATA_DIR=..."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def secret(path: Path) -> str:
    """Return the secret in the file, which only our user may read; make one at the first call.

    Raises:
        OSError: the file cannot be read or written.
    """
    if path.exists() and (known := path.read_text(encoding="ascii").strip()):
        return known
    value = secrets.token_hex(24)  # Needs no quoting in SQL, in a URL or in Valkey's configuration.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{value}\n")
    return value
