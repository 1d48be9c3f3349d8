"""The containers' liveness check, against workers that take messages, and one that does not.

A run of these tests must not disturb the check of another worker of this user: the file that the
check looks at is in a folder of each lab's own.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.domain.priority import Priority
from app.local.valkey import EmbeddedValkey
from tests import servers
from tests.hanging_worker_app import consumption
from tests.lab import Lab, lab
from tests.servers import ROOT
from tests.support import free_port, wait_for

# Long enough for a worker to be found out that seems not to take messages.
LONG = 2 * consumption.PERIOD_SECONDS

RED = (
    "the worker has taken no message for 2 s though queue medium holds some and"
    " 2 of 2 slots are free; its event loop hangs"
)


class Watched:
    """A lab whose worker can be made to hang, and its liveness check."""

    def __init__(self, own: Lab) -> None:
        self.lab = own
        self.worker: psutil.Process
        self._name = ""
        self._starts = 0
        self._seen = 0

    def have_worker(self) -> None:
        """Start a worker, unless the one of the test before is well."""
        if not self._starts or self.worker.status() == psutil.STATUS_ZOMBIE or self.check()[0]:
            self.start_worker()
        self._seen = len(self.lab.service.log(self._name))

    def start_worker(self) -> None:
        """Start a worker in place of the one of the test before."""
        if self._name in self.lab.service.processes:
            self.lab.service.kill(self._name)
        # What the other one has said must not speak for this one.
        for said in Path(self.lab.service.settings["TMPDIR"]).glob("*.alive"):
            said.unlink()
        self._starts += 1
        self._seen = 0
        self._name = f"worker{self._starts}"
        self.worker = self.lab.service.start_worker(self._name)
        wait_for(lambda: self.check()[0] == 0, 10, "the worker has said that it lives")

    def check(self) -> tuple[int, str]:
        """Return the check's exit code, and what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "app.worker.liveness"],
            cwd=ROOT,
            env={**os.environ, **self.lab.service.settings},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def hang(self) -> None:
        self.worker.send_signal(signal.SIGURG)
        wait_for(lambda: "The event loop hangs" in self.log(), 10, "the worker hangs")

    def go_on(self) -> None:
        self.worker.send_signal(signal.SIGURG)

    def log(self) -> str:
        """Return what this test's worker has logged since the test began."""
        return self.lab.service.log(self._name)[self._seen :]

    def wait_until_red(self) -> str:
        """Return what the check says once it fails."""
        wait_for(lambda: self.check()[0] != 0, 25, f"the check fails; {self.log()}")
        return self.check()[1]

    def assert_stays_green(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds

        def is_over() -> bool:
            assert self.check() == (0, ""), self.log()
            return time.monotonic() > deadline

        wait_for(is_over, seconds + 20, "the time has passed")


@contextmanager
def watching(
    database_url: str, redis_url: str, directory: Path, **settings: str
) -> Iterator[Watched]:
    own_temporary = directory / "tmp"
    own_temporary.mkdir()
    with lab(database_url, redis_url, directory, TMPDIR=str(own_temporary), **settings) as own:
        own.service.worker_app = "tests.hanging_worker_app"
        watched = Watched(own)
        try:
            yield watched
        finally:
            # One that hangs does not end when it is told to.
            for name in list(own.service.processes):
                own.service.kill(name)


@pytest.fixture(scope="module")
def shared(
    postgres: servers.Postgres, valkey: servers.Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    with (
        postgres.database() as database_url,
        valkey.database() as redis_url,
        watching(database_url, redis_url, tmp_path_factory.mktemp("liveness")) as own,
    ):
        yield own


@pytest.fixture
def own(shared: Watched) -> Iterator[Watched]:
    """The lab of all tests here, with settings of the test's own, and nothing left to run."""
    before = dict(shared.lab.service.settings)
    yield shared
    shared.lab.service.settings.clear()
    shared.lab.service.settings.update(before)


def test_a_worker_whose_event_loop_hangs_is_red_until_it_goes_on(own: Watched) -> None:
    own.have_worker()
    own.hang()
    # Redis hands this one to the worker, which had asked for it; it is published once more.
    task_id = own.lab.add("sleep")

    said = own.wait_until_red()
    assert re.sub(r"for \d+ s", "for 2 s", said) == RED + "\n"
    assert own.worker.status() != psutil.STATUS_ZOMBIE
    wait_for(lambda: own.check()[1] != said, 10, "the check says for how long by now")

    own.go_on()
    wait_for(lambda: own.check() == (0, ""), 10, "the check passes again")
    assert own.lab.service.wait_until(task_id, "COMPLETED", "FAILED")["status"] == "COMPLETED"
    # Each change is logged once, however often the check was asked.
    logged = re.findall(r"(\w+) +app\.worker\.consumption: (.*)", own.log())
    assert [(level, re.sub(r"for \d+ s", "for 2 s", words)) for level, words in logged] == [
        ("ERROR", f"The liveness check fails: {RED}"),
        ("INFO", "The liveness check passes again: it has taken a message"),
    ]


def test_a_worker_that_hangs_may_first_finish_what_it_runs(own: Watched) -> None:
    own.have_worker()
    running = [own.lab.start("sleep", seconds=LONG) for _ in "12"]
    own.hang()
    own.lab.add("sleep", priority=Priority.LOW)
    own.lab.add("sleep", priority=Priority.HIGH)

    said = own.wait_until_red()

    # Celery's books, which nobody keeps by now, would call both slots busy for ever.
    assert "queues high, low hold some and 2 of 2 slots are free" in said
    assert {own.lab.service.read(task_id)["status"] for task_id in running} == {"COMPLETED"}


def test_an_idle_worker_is_green(own: Watched) -> None:
    own.have_worker()

    own.assert_stays_green(LONG)

    assert own.lab.service.wait_until(own.lab.add("sleep"), "COMPLETED")


def test_a_busy_worker_with_a_backlog_is_green(own: Watched) -> None:
    own.have_worker()
    running = [own.lab.start("waits_for_word") for _ in "12"]
    waiting = own.lab.add("sleep", priority=Priority.LOW)
    own.lab.service.wait_until(waiting, "PENDING")

    own.assert_stays_green(LONG)

    assert own.lab.service.read(waiting)["status"] == "PENDING"
    own.lab.ledger.give_word()
    for task_id in (*running, waiting):
        own.lab.service.wait_until(task_id, "COMPLETED")
    own.lab.ledger.take_word_back()


def test_a_worker_that_throws_away_what_it_cannot_read_is_green(own: Watched) -> None:
    own.have_worker()
    with own.lab.publisher._redis() as client:
        # Some six a second are dropped, since Celery connects anew after each.
        client.lpush("medium", *(["no message"] * 500))

    own.assert_stays_green(LONG)

    with own.lab.publisher._redis() as client:
        assert 0 < client.llen("medium") < 500
        client.delete("medium")


def test_messages_in_a_queue_that_the_worker_is_told_to_leave_are_no_fault(own: Watched) -> None:
    own.have_worker()
    control = own.lab.publisher._celery.control

    def told(command: Callable[..., object]) -> None:
        # Whoever is not connected at the moment does not hear of it, as after the test before.
        wait_for(lambda: command("low", reply=True, timeout=1, limit=1), 20, "the worker answers")

    told(control.cancel_consumer)
    waiting = own.lab.add("sleep", priority=Priority.LOW)
    own.lab.service.wait_until(waiting, "PENDING")

    own.assert_stays_green(LONG)

    assert own.lab.service.read(waiting)["status"] == "PENDING"
    told(control.add_consumer)
    own.lab.service.wait_until(waiting, "COMPLETED")


def test_a_worker_that_is_being_stopped_is_green(own: Watched) -> None:
    own.lab.service.settings["SOFT_SHUTDOWN_SECONDS"] = str(LONG + 2)
    own.start_worker()
    running = own.lab.start("sleep", seconds=LONG)
    own.worker.terminate()
    waiting = own.lab.add("sleep")
    own.lab.publish(waiting)

    def has_ended() -> bool:
        assert own.check() == (0, ""), own.log()
        return own.worker.status() == psutil.STATUS_ZOMBIE

    wait_for(has_ended, LONG + 15, "the worker has ended")

    assert own.lab.service.read(running)["status"] == "COMPLETED"
    assert own.lab.service.read(waiting)["status"] == "PENDING"


def test_a_worker_without_redis_is_green(database_url: str, tmp_path: Path) -> None:
    with (
        EmbeddedValkey(tmp_path / "valkey", port=free_port(), durable=False) as broker,
        watching(database_url, broker.url(0), tmp_path) as own,
    ):
        own.start_worker()
        broker.kill()
        waiting = own.lab.add("sleep")

        own.assert_stays_green(LONG)

        broker.start()
        own.lab.service.wait_until(waiting, "COMPLETED")
        assert "The liveness check" not in own.log()
