"""Child processes: what they write, how they stop, and that they do not outlive us."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.local.children import Child
from app.local.errors import ChildDiedError, NotReadyError
from app.local.waiting import wait_for_success, wait_until
from tests.servers import ROOT
from tests.support import wait_for

StartShell = Callable[..., Child]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[StartShell]:
    """Start a shell script as a child."""
    children = []

    def start(script: str, **options: object) -> Child:
        child = Child(
            "The child",
            ["/bin/sh", "-c", script],
            folder=tmp_path,
            environment={"PATH": os.defpath},
            **options,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()


def test_output_is_read_line_by_line_errors_included(shell: StartShell) -> None:
    lines: list[str] = []
    child = shell("echo one; echo two >&2; printf '\\377 no end'", sink=lines.append)

    wait_for_success(child, 10)

    assert lines == ["one", "two", "\ufffd no end"]
    assert child.last_lines() == lines


def test_text_is_given_on_standard_input(shell: StartShell) -> None:
    child = shell("cat", text="привет\n")

    wait_for_success(child, 10)

    assert child.last_lines() == ["привет"]


def test_a_child_runs_in_its_folder_and_in_a_session_of_its_own(
    shell: StartShell, tmp_path: Path
) -> None:
    child = shell("pwd; exec sleep 100")
    wait_for(child.last_lines, 10, "the folder is written")

    assert child.last_lines() == [str(tmp_path)]
    assert os.getsid(child.pid) == child.pid != os.getsid(0)


def test_stopping_gives_time_to_end_in_order(shell: StartShell) -> None:
    child = shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done")
    wait_for(child.last_lines, 10, "the child is up")

    child.stop(10)

    assert child.exit_code == 3
    assert child.last_lines() == ["up", "bye"]


@pytest.mark.parametrize(("seconds", "hurry"), [(0.1, False), (100, True)])
def test_a_child_that_will_not_stop_is_killed(
    shell: StartShell, seconds: float, hurry: bool
) -> None:
    child = shell("trap '' TERM; echo up; while :; do sleep 0.01; done")
    wait_for(child.last_lines, 10, "the child is up")
    begin = time.monotonic()

    child.stop(seconds, lambda: hurry)

    assert child.exit_code == -signal.SIGKILL
    assert time.monotonic() - begin < 5


def test_what_a_child_left_in_its_session_ends_with_it(shell: StartShell) -> None:
    child = shell("sleep 100 & echo $!; wait")
    wait_for(child.last_lines, 10, "the grandchild is started")
    grandchild = psutil.Process(int(child.last_lines()[0]))

    child.stop(5)

    wait_for(lambda: not _lives(grandchild), 5, "the grandchild has ended")


def test_a_death_is_told_with_its_code_and_last_lines(shell: StartShell) -> None:
    child = shell("echo reason; echo remedy; exit 7")

    with pytest.raises(ChildDiedError) as caught:
        wait_until(lambda: False, 10, child)

    expected = "The child ended with exit code 7. Its last lines:\n    reason\n    remedy"
    assert str(caught.value) == expected


def test_a_death_with_a_single_line_is_told_in_one(shell: StartShell) -> None:
    child = shell("echo reason; exit 7")

    with pytest.raises(ChildDiedError) as caught:
        wait_until(lambda: False, 10, child)

    assert str(caught.value) == "The child ended with exit code 7. It says: reason"


def test_a_death_by_signal_is_told_by_its_name(shell: StartShell) -> None:
    child = shell("kill -SEGV $$")
    wait_for(lambda: child.exit_code is not None, 10, "the child has ended")

    with pytest.raises(ChildDiedError, match=r"The child was killed by SIGSEGV\."):
        child.ensure_alive()


def test_waiting_ends_at_its_deadline_with_the_last_lines(shell: StartShell) -> None:
    child = shell("echo still thinking; exec sleep 100")
    wait_for(child.last_lines, 10, "the child has written")

    with pytest.raises(NotReadyError, match=r"(?s)not ready within 0.1 s.*still thinking"):
        wait_until(lambda: False, 0.1, child)
    with pytest.raises(NotReadyError, match=r"did not end within 0.1 s"):
        wait_for_success(child, 0.1)

    assert child.exit_code is not None


def test_waiting_ends_when_another_process_that_is_needed_dies(shell: StartShell) -> None:
    child, needed = shell("exec sleep 100"), shell("exit 1")

    with pytest.raises(ChildDiedError, match="exit code 1"):
        wait_until(lambda: False, 10, child, needed=[needed])


def test_a_program_that_is_missing_is_named(shell: StartShell, tmp_path: Path) -> None:
    child = Child("It", ["/no/such/program"], folder=tmp_path, environment={})

    with pytest.raises(ChildDiedError, match="/no/such/program: No such file or directory"):
        wait_for_success(child, 10)


@pytest.mark.parametrize("as_user", [False, True])
def test_a_child_does_not_outlive_its_parent(tmp_path: Path, as_user: bool) -> None:
    # Another user is for root to choose; everybody else starts children as themselves.
    user = "ServerUser(65534, 65534)" if as_user and os.geteuid() == 0 else "None"
    source = f"""
from pathlib import Path
from app.local.children import Child
from app.local.server_user import ServerUser
child = Child("c", ["/bin/sleep", "100"], folder=Path("/"), environment={{}}, user={user})
print(child.pid, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", source],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        wait_for(lambda: child.name() == "sleep", 10, "the child has become its program")

        parent.kill()

        wait_for(lambda: not _lives(child), 5, "the child has ended")


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
