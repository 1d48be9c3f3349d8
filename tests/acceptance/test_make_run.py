"""`make run`, from a user's keyboard to the last process's end."""

import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.local_run import LocalRun, ready, started
from tests.support import wait_for

pytestmark = pytest.mark.acceptance

LAUNCHER = (sys.executable, "-m", "app.local")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRun]:
    """A run for the tests that only use it."""
    with ready(tmp_path_factory.mktemp("make-run")) as run:
        yield run


# -- A run that works ---------------------------------------------------------------------------


def test_the_printed_curl_line_creates_a_task_that_completes(run: LocalRun) -> None:
    line = next(line for line in run.output.splitlines() if line.strip().startswith("curl "))
    words = shlex.split(line)
    name, _, value = words[words.index("-H") + 1].partition(": ")

    response = httpx.request(
        words[words.index("-X") + 1],
        next(word for word in words if word.startswith("http")),
        headers={name: value},
        content=words[words.index("-d") + 1],
    )

    assert response.status_code == 201
    run.wait_for_status(response.json()["id"], "COMPLETED")


def test_every_printed_address_answers(run: LocalRun) -> None:
    block = run.output.partition("Create a task:")[0]
    addresses = re.findall(r"http://\S+", block)

    assert [httpx.get(url, timeout=10).status_code for url in addresses] == [200, 200, 200]
    assert addresses[2].endswith(f":{run.flower_port}")


def test_log_lines_carry_the_name_of_their_process(run: LocalRun) -> None:
    logged = run.output.partition("Ctrl-C stops everything.")[2].strip().splitlines()

    names = {line.partition("|")[0].strip() for line in logged}
    assert names == {"postgres", "valkey", "api", "worker", "flower"}


def test_nothing_listens_beyond_this_machine(run: LocalRun) -> None:
    listening = [
        connection.laddr.ip
        for connections in run.of_each(lambda process: process.net_connections("tcp"))
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
    ]

    assert len(listening) >= 4  # PostgreSQL, Valkey, API, Flower.
    assert set(listening) == {"127.0.0.1"}


def test_the_generated_passwords_are_for_their_owner_alone(run: LocalRun) -> None:
    files = [run.data_dir / server / "password" for server in ("postgres", "valkey")]

    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    command_lines = "\n".join(" ".join(line) for line in run.of_each(psutil.Process.cmdline))
    for file in files:
        assert file.read_text().strip() not in command_lines + run.output


def test_with_both_urls_nothing_embedded_is_started(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    with ready(tmp_path, DATABASE_URL=database_url, REDIS_URL=redis_url) as run:
        run.wait_for_status(run.create(), "COMPLETED")

        names = {process.name() for process in run.processes()}
        assert not names & {"postgres", "valkey-server"}
        assert not run.data_dir.exists()


def test_a_second_run_on_the_same_data_says_so(run: LocalRun, tmp_path: Path) -> None:
    with started(tmp_path, DATA_DIR=str(run.data_dir)) as second:
        line = second.refusal()

    assert "Another run" in line
    assert str(run.launcher().pid) in line
    assert httpx.get(f"{run.url}/health").status_code == 200


@pytest.mark.parametrize("variable", ["API_PORT", "FLOWER_PORT"])
def test_a_taken_port_is_named_and_nothing_is_started(
    run: LocalRun, tmp_path: Path, variable: str
) -> None:
    taken = {"API_PORT": run.api_port, "FLOWER_PORT": run.flower_port}[variable]

    with started(tmp_path, **{variable: str(taken)}) as second:
        line = second.refusal()

    assert f"Port {taken} is taken" in line
    assert f"{variable}=" in line
    assert not (second.data_dir / "postgres").exists()


# -- Stopping -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one run after another, on the data of the one before, however that ended."""
    return tmp_path_factory.mktemp("stopping")


def test_ctrl_c_stops_everything_in_order_and_a_restart_keeps_the_data(folder: Path) -> None:
    with ready(folder) as run:
        task = run.create()
        run.wait_for_status(task, "COMPLETED")
        before = len(run.output.splitlines())

        run.press_ctrl_c()

        run.wait(20)
        assert run.survivors(0) == []
        assert "Error" not in run.output
        names = [line.partition("|")[0].strip() for line in run.output.splitlines()[before:]]
        assert names[-1] == "Stopped."
        last_words = {name: index for index, name in enumerate(names[:-1])}
        order = sorted(last_words, key=last_words.__getitem__)
        assert order[-5:] == ["flower", "worker", "api", "valkey", "postgres"]

        # Without the network, which an installation would need.
        run.start(PIP_INDEX_URL="http://127.0.0.1:1/", PIP_NO_INDEX="1")
        run.wait_until_ready()
        # Two to three seconds go by, and eight of the processor, on a machine that has nothing else
        # to do. By the clock it would be a question of what else the machine does.
        assert run.processor_seconds() < 16
        assert run.status(task) == "COMPLETED"
        assert "Installing" not in run.output


def test_term_to_make_stops_everything(folder: Path) -> None:
    with ready(folder) as run:
        run.terminate()

        run.wait(20)
        assert run.survivors(0) == []


def test_hanging_up_the_terminal_stops_everything(folder: Path) -> None:
    with ready(folder, *LAUNCHER) as run:
        run.launcher().send_signal(signal.SIGHUP)

        assert run.wait(20) == 0
        assert run.survivors(0) == []


def test_ctrl_c_during_the_start_stops_everything(folder: Path) -> None:
    with started(folder, *LAUNCHER) as run:
        wait_for(lambda: "Starting API" in run.output, 30, "the service is being started")
        run.processes()

        run.press_ctrl_c()

        assert run.wait(20) == 0
        assert run.survivors(0) == []
        assert run.output.rstrip().endswith("Stopped.")


def test_a_second_ctrl_c_does_not_wait_for_running_tasks(folder: Path) -> None:
    patient = {"SIMULATED_WORK_SECONDS": "100", "SOFT_SHUTDOWN_SECONDS": "100"}
    with ready(folder, *LAUNCHER, **patient) as run:
        run.wait_for_status(run.create(), "IN_PROGRESS")
        run.press_ctrl_c()
        wait_for(lambda: "Soft Shutdown" in run.output, 10, "the worker is being stopped")
        assert psutil.pid_exists(run.launcher().pid)

        run.press_ctrl_c()

        assert run.wait(10) == 0
        assert run.survivors(2) == []


def test_a_killed_launcher_leaves_nothing_and_the_next_run_recovers(folder: Path) -> None:
    with ready(folder) as run:
        task = run.create()
        run.wait_for_status(task, "COMPLETED")

        run.launcher().kill()

        run.wait(10)
        assert run.survivors(10) == []
        run.start()
        run.wait_until_ready()
        assert run.status(task) == "COMPLETED"


def test_a_killed_make_stops_everything(folder: Path) -> None:
    with ready(folder) as run:
        run.kill_make()

        run.wait(5)
        assert run.survivors(20) == []


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["celery", "worker"], "The worker"),
        (["celery", "flower"], "Flower"),
        (["uvicorn"], "The API"),
    ],
)
def test_a_process_that_dies_ends_the_run(folder: Path, words: list[str], name: str) -> None:
    with ready(folder) as run:
        run.find(*words).kill()

        line = run.refusal()

        assert line.startswith(f"Error: {name} was killed by SIGKILL.")
