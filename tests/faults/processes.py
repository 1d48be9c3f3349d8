"""Harm done to single processes of a worker: its main process, one of its pool, or all of them."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.lab import Lab
from tests.support import wait_for


def pool(main: psutil.Process) -> list[psutil.Process]:
    """Return a worker's pool processes, in which tasks run; those that have died do not count."""
    return [process for process in main.children() if runs(process)]


def process_of(lab: Lab, task_id: int) -> psutil.Process:
    """Return the pool process that runs a task."""
    node, _, pid = lab.service.read(task_id)["worker"].rpartition("/")
    assert node.endswith("@test"), node
    return psutil.Process(int(pid))


def kill_main_only(lab: Lab, name: str) -> None:
    """End a worker's main process without warning, and nothing else."""
    process = lab.service.processes.pop(name)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)


def wait_until_gone(processes: list[psutil.Process], seconds: float) -> None:
    """Wait until none of these runs any more."""
    wait_for(lambda: not any(map(runs, processes)), seconds, f"{processes} are gone")


def runs(process: psutil.Process) -> bool:
    """Return whether a process is there; a zombie is not, it only waits to be reaped."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def frozen(*processes: psutil.Process) -> Iterator[None]:
    """Stop processes (SIGSTOP), and let them go on at the end of the block."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            if process.is_running():
                process.resume()
