"""`make run` as a user starts it, for tests to watch, to harm and to stop."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from tests.servers import ROOT
from tests.support import free_port, wait_for

T = TypeVar("T")

# Printed when everything is ready.
READY = "Ctrl-C stops everything."
# A tester's own variables must not decide what a test sees. Without compiled files each of the
# five processes would compile its imports anew, which no user's do.
UNWANTED = ("DATABASE_URL", "REDIS_URL", "PYTHON", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS")
UNWANTED += ("NO_COLOR", "PYTHONDONTWRITEBYTECODE")


@dataclass
class LocalRun:
    """One `make run`, or one start of the launcher alone, with its output in a file."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ("make", "run")
    api_port: int = field(default_factory=free_port)
    flower_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.data_dir = self.folder / "data"
        self._log = self.folder / f"output-{self.api_port}.log"
        self._started: list[psutil.Process] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def start(self, **settings: str) -> None:
        """Start it, and wait for nothing."""
        environment = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        environment |= {
            "API_PORT": str(self.api_port),
            "FLOWER_PORT": str(self.flower_port),
            "DATA_DIR": str(self.data_dir),
            "SIMULATED_WORK_SECONDS": "0.2",
        }
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=environment | self.settings | settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self, seconds: float = 60) -> float:
        """Return the seconds that it took to print that all is ready."""
        begin = time.monotonic()
        wait_for(self._ready_or_ended, seconds, f"`make run` is ready, in {self._log}")
        assert READY in self.output, self.output
        self.processes()
        return time.monotonic() - begin

    def _ready_or_ended(self) -> bool:
        return READY in self.output or self._process.poll() is not None

    def processes(self) -> list[psutil.Process]:
        """Return every process of the run, all generations, make itself first."""
        top = psutil.Process(self._process.pid)
        self._started = [top, *top.children(recursive=True)]
        return self._started

    def processor_seconds(self) -> float:
        """Return what the run has taken of the processor, with those of it that have ended."""
        times = self.of_each(psutil.Process.cpu_times)
        return sum(t.user + t.system + t.children_user + t.children_system for t in times)

    def of_each(self, ask: Callable[[psutil.Process], T]) -> list[T]:
        """Return what `ask` says of each process; PostgreSQL has some that come and go."""
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                found.append(ask(process))
        return found

    def find(self, *words: str) -> psutil.Process:
        """Return the first process that has all these words on its command line."""
        for process, line in self.of_each(lambda process: (process, process.cmdline())):
            if set(words) <= set(line):
                return process
        raise AssertionError(f"no process with {words}")

    def launcher(self) -> psutil.Process:
        return self.find("-m", "app.local")

    def press_ctrl_c(self) -> None:
        """Send what a terminal sends, to those whom it reaches: make and the launcher."""
        os.killpg(self._process.pid, signal.SIGINT)

    def terminate(self) -> None:
        self._process.terminate()

    def kill_make(self) -> None:
        self._process.kill()

    def wait(self, seconds: float) -> int:
        """Return the exit code."""
        return self._process.wait(seconds)

    def refusal(self, seconds: float = 30) -> str:
        """Return the one line that a run which cannot start, or go on, ends with."""
        assert self.wait(seconds) != 0
        errors = [line for line in self.output.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1, self.output
        assert "Traceback" not in self.output
        assert self.survivors(0) == []
        return errors[0]

    def survivors(self, seconds: float) -> list[psutil.Process]:
        """Return which processes of the run are there after at most these seconds.

        These are the ones seen earlier, and whatever works on the run's data folder.
        """
        others = [process for process in psutil.process_iter() if self._belongs(process)]
        candidates = {*self._started, *others}
        psutil.wait_procs([each for each in candidates if _lives(each)], timeout=seconds)
        return [each for each in candidates if _lives(each)]

    def _belongs(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("DATA_DIR") == str(self.data_dir) or Path(
                process.cwd()
            ).is_relative_to(self.data_dir)
        except psutil.Error:
            return False  # Another user's, or gone.

    def create(self, **body: Any) -> int:
        response = httpx.post(f"{self.url}/tasks/", json={"title": "a task", **body}, timeout=10)
        assert response.status_code == 201, response.text
        return int(response.json()["id"])

    def status(self, task_id: int) -> str:
        response = httpx.get(f"{self.url}/tasks/{task_id}", timeout=10)
        assert response.status_code == 200, response.text
        return str(response.json()["status"])

    def wait_for_status(self, task_id: int, status: str, seconds: float = 20) -> None:
        wait_for(lambda: self.status(task_id) == status, seconds, f"task {task_id} is {status}")

    def close(self) -> None:
        """End what the test has left running."""
        if self._process.poll() is None:
            self.processes()
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        for process in self.survivors(10):
            process.kill()


def _lives(process: psutil.Process) -> bool:
    try:
        # What an orphan leaves behind is collected by the system's first process, in its time.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def started(folder: Path, *command: str, **settings: str) -> Iterator[LocalRun]:
    """Yield a run that has been started, and end it afterwards."""
    run = LocalRun(folder, settings, command or ("make", "run"))
    run.start()
    try:
        yield run
    finally:
        run.close()


@contextmanager
def ready(folder: Path, *command: str, **settings: str) -> Iterator[LocalRun]:
    """Yield a run that is ready, and end it afterwards."""
    with started(folder, *command, **settings) as run:
        run.wait_until_ready()
        yield run
