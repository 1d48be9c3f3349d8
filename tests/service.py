"""The service's own processes, started as its users start them, for tests to use and to harm."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.servers import ROOT
from tests.support import free_port, wait_for

FINAL = {"COMPLETED", "FAILED", "CANCELLED"}


@dataclass
class Service:
    """An API and its workers, on a database and a Redis of their own."""

    database_url: str
    redis_url: str
    logs: Path
    settings: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    # Where workers find their Celery object; tests have one that knows their own task types.
    worker_app: str = "app.worker.celery"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=15)

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own, its output in a file."""
        environment = {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }
        with (self.logs / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def start_api(self) -> None:
        self.start("api", "uvicorn", "main:app", "--port", str(self.port))
        wait_for(lambda: self._answers("/health/live"), 20, f"API is up; {self.log('api')}")

    def start_worker(self, name: str = "worker") -> psutil.Process:
        """Start a worker, wait until it is ready, and return its main process."""
        process = self.start(
            name,
            "celery",
            "-A",
            self.worker_app,
            "worker",
            "--loglevel=info",
            f"--hostname={name}@test",
        )
        wait_for(lambda: "ready." in self.log(name), 30, f"{name} is ready")
        return psutil.Process(process.pid)

    def _answers(self, path: str) -> bool:
        try:
            return httpx.get(self.url + path, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def log(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def stop(self, name: str, seconds: float = 20) -> int:
        """End a process as an orchestrator does, and return its exit code."""
        process = self.processes[name]
        process.terminate()
        exit_code = process.wait(seconds)
        # Not before: one that does not end is still there, for `close` to kill.
        del self.processes[name]
        return exit_code

    def kill(self, name: str) -> None:
        """End a process, and what it started, without warning."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def close(self) -> None:
        """End all processes side by side, and kill those that take too long."""
        for process in self.processes.values():
            process.terminate()
        for name, process in list(self.processes.items()):
            try:
                process.wait(20)
                del self.processes[name]
            except subprocess.TimeoutExpired:
                self.kill(name)

    def create(self, path: str = "/tasks/", **body: Any) -> dict[str, Any]:
        with self.client() as client:
            response = client.post(path, json={"title": "a task", **body})
        assert response.status_code == 201, response.text
        return response.json()

    def read(self, task_id: int) -> dict[str, Any]:
        with self.client() as client:
            response = client.get(f"/tasks/{task_id}")
        assert response.status_code == 200, response.text
        return response.json()

    def wait_until(self, task_id: int, *statuses: str, seconds: float = 30) -> dict[str, Any]:
        """Return the task once it has one of these statuses."""
        found: dict[str, Any] = {}

        def probe() -> bool:
            found.update(self.read(task_id))
            return found["status"] in statuses

        wait_for(probe, seconds, f"task {task_id} is {' or '.join(statuses)}: {found}")
        return found


@contextmanager
def running(
    database_url: str, redis_url: str, logs: Path, *, workers: int = 1, **settings: str
) -> Iterator[Service]:
    """Yield a service with an API and some workers, and stop it afterwards."""
    service = Service(database_url, redis_url, logs, settings)
    try:
        service.start_api()
        for number in range(workers):
            service.start_worker("worker" if workers == 1 else f"worker{number + 1}")
        yield service
    finally:
        service.close()
