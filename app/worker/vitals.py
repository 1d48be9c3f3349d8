"""What a pool process says of its lease to the worker's main process, which may kill it for it.

A handler that keeps the interpreter's lock to itself, or whose process alone is frozen, neither
renews its lease nor stops: the thread that does both stands still with it. Only another process can
end it before somebody else may start its task again.

Each pool process keeps a small file up to date. The lock on it (flock(2), which the kernel takes
back from the dead) makes a kill hit the attempt that it is meant for: whoever kills holds it, and
so does a process for as long as no handler runs, so that it cannot leave an attempt meanwhile.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

# The task that runs, or 0, from when its lease counts, and when its process should have killed
# itself for time: in seconds by time.monotonic(), which all processes of a machine share.
_LAYOUT = struct.Struct("=qdd")
_NOTHING = _LAYOUT.pack(0, 0.0, 0.0)
# What a process may take to kill itself, in seconds.
_OWN_KILL_SECONDS = 0.5

# Made in the main process, and known to the others because they are its forks.
_folder: Path | None = None


def prepare() -> None:
    """Make the place for the files; to be called in the main process before it forks others.

    Also removes the places of this user's main processes that were killed.
    """
    global _folder
    mine = f"task-manager-vitals-{os.getuid()}-"
    for other in Path(tempfile.gettempdir()).glob(f"{mine}*"):
        # A number that has been given to somebody else keeps the place, which is empty or small.
        with contextlib.suppress(PermissionError, ValueError):
            try:
                os.kill(int(other.name.removeprefix(mine).partition("-")[0]), 0)
            except ProcessLookupError:
                shutil.rmtree(other, ignore_errors=True)
    _folder = Path(tempfile.mkdtemp(prefix=f"{mine}{os.getpid()}-"))


def clear() -> None:
    """Remove the place again, at the end of the main process."""
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)


class OwnVitals:
    """This process's file, as it writes it itself; without a place for it, it tells nobody.

    Not to be used by two threads at the same time: to the lock they are one.
    """

    def __init__(self) -> None:
        self._file: int | None = None
        self._is_locked = False
        if _folder is not None:
            path = _folder / str(os.getpid())
            try:
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                self._give_up(error)
            self.idle()

    def leased(self, task_id: int, renewed_at: float, ends_at: float) -> None:
        """Say that a task's handler runs, under a lease that counts from `renewed_at`.

        At `ends_at` this process kills itself for running too long, if it can.
        """
        self._write(_LAYOUT.pack(task_id, renewed_at, ends_at))
        self._let_go()

    def idle(self) -> None:
        """Say that no handler runs. A process that is being killed never comes back from here."""
        self._write(_NOTHING)

    def _write(self, vitals: bytes) -> None:
        """Take the lock and write."""
        if self._file is None:
            return
        if not self._is_locked:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._is_locked = True
        try:
            os.pwrite(self._file, vitals, 0)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Tell nobody any more, as where the disk is full. Tasks can be run without."""
        log.warning("The main process cannot watch this one: %s", error)
        if self._file is not None:
            # What was written last must not be held against this process. It takes no space.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
            # The lock goes with it.
            os.close(self._file)
            self._file, self._is_locked = None, False

    def _let_go(self) -> None:
        if self._file is not None:
            # In this order, for the end of the process may come between: taking it twice is fine.
            self._is_locked = False
            fcntl.flock(self._file, fcntl.LOCK_UN)


@dataclass(frozen=True, slots=True)
class Killed:
    """A process that was killed, the task it ran, and whether that was for running too long."""

    pid: int
    task_id: int
    ran_too_long: bool


def kill_overdue(longest_seconds: float) -> list[Killed]:
    """Kill the processes that run too long, or renewed their lease longer ago than this.

    Called in the main process.
    """
    if _folder is None:
        return []
    killed = []
    for path in _folder.glob("*"):
        pid = int(path.name)
        if not _is_living_child(pid):
            path.unlink(missing_ok=True)
            continue
        with _locked(path) as file:
            if file is None:
                continue
            vitals = _LAYOUT.unpack(os.pread(file, _LAYOUT.size, 0) or _NOTHING)
            task_id, renewed_at, ends_at = vitals
            now = time.monotonic()
            ran_too_long = now > ends_at + _OWN_KILL_SECONDS
            if task_id and (ran_too_long or now - renewed_at > longest_seconds):
                os.kill(pid, signal.SIGKILL)
                killed.append(Killed(pid, task_id, ran_too_long))
                # Once is enough, also when the process takes its time to die.
                path.unlink(missing_ok=True)
    return killed


def _is_living_child(pid: int) -> bool:
    """Tell a child of this process that lives from one that has died, and from strangers.

    The number of a dead process may be somebody else's by now. It is not taken from the pool here
    (WNOWAIT), which learns of the death in its own way.
    """
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """Yield a file whose lock is held, or None where its process holds it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        yield None
        return
    try:
        yield file
    finally:
        # Not left to close(): a process that was forked meanwhile has the file open too.
        fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)
