"""`make run` when something is in its way: one clear line, and nothing left running."""

import socket
from pathlib import Path

import pytest

from app.local.postgres import EmbeddedPostgres
from app.local.valkey import EmbeddedValkey
from tests.local_run import started

pytestmark = pytest.mark.acceptance


def test_a_process_that_dies_at_its_start_shows_its_last_lines(tmp_path: Path) -> None:
    with started(tmp_path, WORKER_CONCURRENCY="0") as run:
        line = run.refusal()

    assert "ended with exit code 1" in line
    assert "WORKER_CONCURRENCY" in run.output


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("DATABASE_URL", "postgresql://someone:secret@127.0.0.1:{}/tasks"),
        ("REDIS_URL", "redis://:secret@127.0.0.1:{}/0"),
    ],
)
def test_an_unreachable_server_is_named(tmp_path: Path, variable: str, url: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # And does not listen.
        port = nobody.getsockname()[1]
        with started(tmp_path, **{variable: url.format(port)}) as run:
            line = run.refusal()

    assert line == f"Error: {variable} cannot be reached at 127.0.0.1:{port} (Connection refused)."
    assert "secret" not in run.output


def test_a_wrong_database_password_is_shown(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "server", durable=False) as server:
        wrong = f"postgresql://task_manager:not-it@127.0.0.1:{server.port}/task_manager"
        with started(tmp_path, DATABASE_URL=wrong) as run:
            line = run.refusal()

    assert line.startswith("Error: The migration ended with exit code 1.")
    assert "password authentication failed" in run.output


def test_a_wrong_redis_password_is_shown(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "server", durable=False) as server:
        wrong = f"redis://:not-it@127.0.0.1:{server.port}/0"
        with started(tmp_path, REDIS_URL=wrong) as run:
            line = run.refusal()

    assert f"REDIS_URL is refused by 127.0.0.1:{server.port} (WRONGPASS" in line
    assert "not-it" not in run.output


def test_an_unusable_data_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with started(tmp_path, DATA_DIR=str(tmp_path / "file" / "data")) as run:
        line = run.refusal()

    assert f"The data folder {tmp_path}/file/data cannot be used" in line


@pytest.mark.parametrize("python", ["false", "no-such-python"])
def test_a_python_that_is_too_old_is_refused(tmp_path: Path, python: str) -> None:
    # `false` is what a Python older than asked for does when it is asked: it fails.
    with started(tmp_path, PYTHON=python) as run:
        line = run.refusal()

    assert line == f"Error: Python 3.11 or newer is needed (PYTHON={python} is not)."
