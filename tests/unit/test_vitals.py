"""The watch over pool processes kills the one whose lease runs out, and nobody else."""

import fcntl
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.worker import vitals
from app.worker.vitals import Killed
from tests.support import wait_for

# No process of these tests is over for having run too long, unless it says so.
LATER = time.monotonic() + 3600


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # As a main process that was killed leaves it; no process has such a number.
    (tmp_path / f"task-manager-vitals-{os.getuid()}-4194305-abc").mkdir()
    vitals.prepare()
    (folder,) = tmp_path.iterdir()
    yield folder
    vitals.clear()
    assert not list(tmp_path.iterdir())
    vitals._folder = None


@pytest.fixture
def fork(folder: Path) -> Iterator[Callable[[Callable[[vitals.OwnVitals], None]], int]]:
    """Fork a process that says something of itself and then does nothing; return its pid."""
    children: list[int] = []

    def start(speak: Callable[[vitals.OwnVitals], None]) -> int:
        pid = os.fork()
        if pid == 0:
            speak(vitals.OwnVitals())
            (folder.parent / f"ready-{os.getpid()}").touch()
            signal.pause()
            os._exit(0)
        children.append(pid)
        ready = folder.parent / f"ready-{pid}"
        wait_for(ready.exists, 5, "the child has spoken")
        ready.unlink()
        return pid

    yield start
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def is_dead(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def test_only_the_process_whose_lease_runs_out_is_killed(fork) -> None:
    long_ago = time.monotonic() - 60
    overdue = fork(lambda own: own.leased(7, long_ago, LATER))
    renewed = fork(
        lambda own: (own.leased(8, long_ago, LATER), own.leased(8, time.monotonic(), LATER))
    )
    idle = fork(lambda own: (own.leased(9, long_ago, LATER), own.idle()))
    next_task = fork(
        lambda own: (own.leased(7, long_ago, LATER), own.leased(10, time.monotonic(), LATER))
    )

    assert vitals.kill_overdue(30) == [Killed(overdue, 7, ran_too_long=False)]

    wait_for(lambda: is_dead(overdue), 5, "the overdue process is dead")
    assert vitals.kill_overdue(30) == []
    assert not [pid for pid in (renewed, idle, next_task) if is_dead(pid)]


def test_a_process_that_should_have_ended_itself_for_time_is_killed_whatever_its_lease(
    fork,
) -> None:
    now = time.monotonic()
    too_long = fork(lambda own: own.leased(7, now, now - 1))
    just_ending_itself = fork(lambda own: own.leased(8, now, time.monotonic() + 5))

    assert vitals.kill_overdue(30) == [Killed(too_long, 7, ran_too_long=True)]

    wait_for(lambda: is_dead(too_long), 5, "the process is dead")
    assert not is_dead(just_ending_itself)


def test_a_frozen_process_is_killed_too(fork) -> None:
    frozen = fork(lambda own: own.leased(7, time.monotonic() - 60, LATER))
    os.kill(frozen, signal.SIGSTOP)

    assert vitals.kill_overdue(30) == [Killed(frozen, 7, ran_too_long=False)]

    wait_for(lambda: is_dead(frozen), 5, "the frozen process is dead")


def test_a_process_that_has_left_its_attempt_is_not_killed_for_it(folder: Path, fork) -> None:
    now = time.monotonic()
    pid = fork(lambda own: (own.leased(7, now, LATER), own.idle()))
    # As if the watch still saw what stood there before.
    (folder / str(pid)).write_bytes(vitals._LAYOUT.pack(7, now - 60, LATER))

    assert vitals.kill_overdue(30) == []
    assert not is_dead(pid)


def test_a_number_that_is_no_child_of_ours_is_left_alone(folder: Path) -> None:
    # As the number of a process that has died, and that the system gave to somebody else.
    stranger = folder / str(os.getppid())
    stranger.write_bytes(vitals._LAYOUT.pack(7, time.monotonic() - 60, LATER))

    assert vitals.kill_overdue(30) == []
    assert not stranger.exists()


def test_a_process_that_is_just_writing_is_looked_at_the_next_time(folder: Path, fork) -> None:
    pid = fork(lambda own: own.leased(7, time.monotonic() - 60, LATER))
    with (folder / str(pid)).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert vitals.kill_overdue(30) == []
    assert vitals.kill_overdue(30) == [Killed(pid, 7, ran_too_long=False)]


def test_a_process_that_cannot_write_runs_its_tasks_unwatched(folder: Path) -> None:
    # Every write to this device fails for want of space (full(4)).
    (folder / str(os.getpid())).symlink_to("/dev/full")
    before = set(Path("/proc/self/fd").iterdir())
    own = vitals.OwnVitals()
    own.leased(7, time.monotonic(), LATER)
    own.idle()
    assert set(Path("/proc/self/fd").iterdir()) <= before
    (folder / str(os.getpid())).unlink()


def test_what_a_process_wrote_before_the_disk_was_full_is_not_held_against_it(fork) -> None:
    def speak(own: vitals.OwnVitals) -> None:
        own.leased(7, time.monotonic() - 60, LATER)
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        # No write succeeds from here on, in this process.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
        own.leased(8, time.monotonic(), LATER)

    pid = fork(speak)
    assert vitals.kill_overdue(30) == []
    assert not is_dead(pid)
