"""Which user the embedded servers run as, and what that user can reach.

PostgreSQL refuses to run as root, so that root's run hands both servers to another user. What
that user may not enter is never opened up: the binaries are copied, the data is entered first.
"""

import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.local.errors import LocalRunError

COPY_PREFIX = "task-manager-servers-"


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The user, by numbers, that a server runs as."""

    uid: int
    gid: int


def server_user(data: Path) -> ServerUser | None:
    """Return the user to run a server as, or None for our own.

    Existing data keeps its owner, so that root can go on where another user left off.

    Raises:
        LocalRunError: we are root and the system has no user to become.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return ServerUser(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(entry.pw_uid, entry.pw_gid)
    raise LocalRunError(
        "PostgreSQL does not run as root, and this system has no user `postgres` or `nobody`: "
        "run as another user."
    )


def make_private(folder: Path, user: ServerUser | None) -> None:
    """Create the folder, or take it over, for `user` alone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        os.chown(folder, user.uid, user.gid)


def can_reach(path: Path, user: ServerUser | None) -> bool:
    """Tell whether `user` may read and enter `path`, by the mode bits alone (no ACLs)."""
    if user is None:
        return True
    resolved = path.resolve()
    return _allows(resolved, user, 0o5) and all(
        _allows(parent, user, 0o1) for parent in resolved.parents
    )


def _allows(path: Path, user: ServerUser, wanted: int) -> bool:
    """Tell whether the file's mode grants all `wanted` bits (4 read, 1 enter) to the user."""
    status = path.stat()
    if status.st_uid == user.uid:
        granted = status.st_mode >> 6
    elif status.st_gid == user.gid:
        granted = status.st_mode >> 3
    else:
        granted = status.st_mode
    return granted & wanted == wanted


def copy_for_everyone(root: Path, parts: Iterable[str]) -> Path:
    """Copy the files or folders `parts` below `root`, in the same layout, to where all can read.

    The caller removes the returned folder; one that a killed run left behind is removed here.
    """
    remove_abandoned_copies()
    copy = Path(tempfile.mkdtemp(prefix=f"{COPY_PREFIX}{os.getpid()}-"))
    for part in parts:
        source, target = root / part, copy / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.a", "*.pc"))
        else:
            shutil.copyfile(source, target)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755)
    return copy


def remove_abandoned_copies() -> None:
    """Remove our user's copies whose process is gone."""
    for path in Path(tempfile.gettempdir()).glob(f"{COPY_PREFIX}*-*"):
        status = path.lstat()
        pid = path.name.removeprefix(COPY_PREFIX).partition("-")[0]
        if not (stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and pid.isdecimal()):
            continue
        if not process_exists(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def process_exists(pid: int) -> bool:
    """Tell whether a process has this number now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
