"""A task module that cannot be imported stops what needs it, with one line and nothing else."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.local_run import started
from tests.servers import ROOT
from tests.support import free_port, wait_for

pytestmark = pytest.mark.acceptance

PROGRAMS = Path(sys.executable).parent
NEED_THEM = (
    "uvicorn main:app --port {port}",
    "celery -A app.worker.celery worker --loglevel=info",
)
FLOWER = "celery -A app.worker.celery flower --port={port} --address=127.0.0.1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module whose third line raises."""
    (tmp_path / "broken_module.py").write_text("x = 1\n\nundefined + x\n")
    return tmp_path


def settings(folder: Path) -> dict[str, str]:
    return {"TASK_MODULES": "broken_module", "PYTHONPATH": str(folder)}


def line(folder: Path) -> str:
    return (
        "The task module broken_module cannot be imported: NameError: "
        f"name 'undefined' is not defined ({folder}/broken_module.py, line 3)"
    )


def start(command: str, folder: Path, **more: str) -> subprocess.Popen[str]:
    program, *rest = shlex.split(command.format(port=free_port()))
    return subprocess.Popen(
        [PROGRAMS / program, *rest],
        cwd=ROOT,
        env={**os.environ, **settings(folder), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_api_and_worker_end_with_one_line(folder: Path) -> None:
    processes = [start(command, folder) for command in NEED_THEM]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=30)
            assert output == line(folder) + "\n"
            assert process.returncode == 1
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
    finally:
        for process in processes:
            process.kill()


def test_make_run_ends_with_one_line(folder: Path) -> None:
    with started(folder, **settings(folder)) as run:
        said = run.refusal()

    assert said.endswith(f" ended with exit code 1. It says: {line(folder)}")


def test_flower_does_not_need_the_modules(folder: Path, redis_url: str) -> None:
    port = free_port()
    process = start(FLOWER.replace("{port}", str(port)), folder, REDIS_URL=redis_url)
    try:
        wait_for(lambda: answers(port), 30, "Flower is up")
        assert psutil.pid_exists(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthcheck", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
