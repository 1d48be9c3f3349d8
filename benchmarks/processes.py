"""The contestants' processes: each is started for a measurement, and ended after it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from app.local.ports import free_port
from benchmarks.load import Failed
from benchmarks.servers import ROOT

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


def wait_for(probe: Callable[[], bool], seconds: float, what: str, every: float = 0.02) -> None:
    """Ask, every so many seconds, until it is so. Raises TimeoutError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:g} s still not: {what}")
        time.sleep(every)


def finished(command: list[str], environment: dict[str, str], seconds: float) -> str:
    """Run a command to its end, and return what it printed. Raises Failed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{' '.join(command[2:])}: {done.stderr}")
    return done.stdout


@contextmanager
def started(
    name: str,
    command: list[str],
    environment: dict[str, str],
    logs: Path,
    python: str = sys.executable,
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process in a group of its own, which is ended afterwards."""
    log = logs / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [python, "-m", *command],
            cwd=ROOT,
            env={
                **os.environ,
                "TASK_MODULES": "benchmarks.noop",
                "LOG_LEVEL": "WARNING",
                "REMAP_SIGTERM": "SIGQUIT",
                **environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_STOP_SECONDS)


@contextmanager
def serving(
    app: str, environment: dict[str, str], logs: Path, python: str = sys.executable
) -> Iterator[tuple[str, int]]:
    """Yield the address of an ASGI application behind uvicorn, and its process's number."""
    port = free_port()
    command = ["uvicorn", app, "--port", str(port), "--no-access-log", "--log-level", "warning"]
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/openapi.json", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    with started(app.partition(":")[0], command, environment, logs, python) as process:
        wait_for(answers, _START_SECONDS, f"{app} answers")
        yield url, process.pid


@contextmanager
def working(
    app: str, environment: dict[str, str], logs: Path, *, name: str = "worker"
) -> Iterator[psutil.Process]:
    """Yield the main process of a Celery worker with two slots and its events on, once it waits."""
    log = logs / f"{name}-{app}.log"
    log.unlink(missing_ok=True)
    options = ["-c", "2", "-E", "--loglevel=info", f"--hostname={name}@bench"]
    command = ["celery", "-A", app, "worker", *options]
    with started(log.stem, command, {**environment, "LOG_LEVEL": "INFO"}, logs) as process:
        wait_for(lambda: "ready." in log.read_text(), _START_SECONDS, f"{name} of {app} is ready")
        main = psutil.Process(process.pid)
        wait_for(lambda: len(main.children()) == 2, _START_SECONDS, "both slots are there")
        yield main


@contextmanager
def held(workers: list[psutil.Process]) -> Iterator[None]:
    """Let workers stand still within, so that all of their work lies ready when they go on."""
    processes = [each for main in workers for each in (main, *main.children())]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()
