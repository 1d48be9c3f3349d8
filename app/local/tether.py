"""Becomes another program that cannot outlive its parent: Linux kills it when the parent dies.

A script of its own, run as `python -I -S tether.py PARENT SIGNAL UID GID PROGRAM [ARGUMENT ...]`,
since the same steps in Popen's `preexec_fn` are unsafe beside threads. It changes the user first,
because a change of user clears the parent-death signal (prctl(2), PR_SET_PDEATHSIG). On other
systems than Linux it promises the change of user only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
KEEP_USER = "-"


def become(parent: int, orphan_signal: int, uid: str, gid: str, command: list[str]) -> None:
    """Replace this process by `command`, whose program is given by its path; does not return.

    Raises:
        OSError: the user cannot be changed, or the program cannot be started.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)  # Whatever nohup, a shell or Python ignored.
    if uid != KEEP_USER:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    set_parent_death_signal(orphan_signal)
    if os.getppid() != parent:  # It died before the signal was set.
        os._exit(1)
    # Not execvp: it imports a module, from where the new user may not be able to read.
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def set_parent_death_signal(number: int) -> None:
    """On Linux, have this process get the signal when the thread that started it ends.

    Raises:
        OSError: the system refused.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


if __name__ == "__main__":
    try:
        become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
    except OSError as error:
        sys.exit(f"{sys.argv[5]}: {error.strerror or error}")
