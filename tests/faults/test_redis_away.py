"""Redis stopped, frozen and flapping under tasks that run and clients that post."""

import random
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests import servers
from tests.faults.conftest import LONG, own_lab
from tests.faults.figures import figure
from tests.faults.load import Load
from tests.faults.processes import pool
from tests.faults.servers import RedisPlug, redis_plug
from tests.faults.verdict import assert_consistent
from tests.lab import Lab
from tests.support import wait_for

# What the service promises, in seconds.
LONGEST_ANSWER = 0.5
CONSUMES_AGAIN_AFTER = 2.0

_CLOCK = threading.Event()


@pytest.fixture(scope="module")
def redis_server(
    valkey: servers.Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisPlug]:
    with redis_plug(valkey, tmp_path_factory.mktemp("redis_away")) as plug:
        yield plug


@pytest.fixture(scope="module")
def away_lab(
    postgres: servers.Postgres, redis_server: RedisPlug, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """A lab with one worker of two slots, which must live through all the outages here."""
    directory = tmp_path_factory.mktemp("lab")
    with (
        postgres.database() as database_url,
        own_lab(database_url, redis_server.url, directory, SIMULATED_WORK_SECONDS="0.01") as own,
    ):
        own.service.worker_app = "tests.faults.worker_app"
        own.service.start_worker()
        yield own


# Makes an outage, and returns when Redis was back, by time.monotonic().
Outage = Callable[[RedisPlug], float]


def stopped(seconds: float) -> Outage:
    def outage(server: RedisPlug) -> float:
        server.kill()
        _CLOCK.wait(seconds)
        server.start()
        return time.monotonic()

    return outage


def frozen(seconds: float) -> Outage:
    def outage(server: RedisPlug) -> float:
        server.freeze()
        _CLOCK.wait(seconds)
        server.thaw()
        return time.monotonic()

    return outage


def flapping(server: RedisPlug) -> float:
    for _ in range(2):
        stopped(0.3)(server)
        _CLOCK.wait(0.3)
    return stopped(0.3)(server)


OUTAGES: dict[str, tuple[float, Outage]] = {
    "stopped for 6 s": (6, stopped(6)),
    "three quick flaps": (3, flapping),
    "frozen for 7 s": (7, frozen(7)),
}
if LONG:
    OUTAGES |= {
        f"stopped for {seconds:g} s": (seconds, stopped(seconds))
        for seconds in (0.7, 1.9, 2.6, 4.1, 5, 9.3, 15.8, 33.2, 60, 300)
    }
    OUTAGES |= {f"frozen for {seconds} s": (seconds, frozen(seconds)) for seconds in (12, 60)}


@pytest.mark.timeout(420)
@pytest.mark.parametrize("name", OUTAGES)
def test_redis_away_delays_work_and_nothing_else(
    away_lab: Lab, redis_server: RedisPlug, name: str
) -> None:
    """What ends a worker of Celery 5.7.0: two slots, tasks running, Redis stopped."""
    seconds, outage = OUTAGES[name]
    worker = away_lab.service.processes["worker"]
    processes = worker_processes(away_lab)
    running = away_lab.start("sleep", seconds=seconds + 2)
    ends_meanwhile = away_lab.start("sleep", seconds=seconds / 2)
    load = Load(away_lab.service, random.Random(name))

    # At a rate at which what waits after an outage is soon done.
    with load.running(posters=2, others=0, pause=0.3 if seconds < 20 else 0.8):
        load.pause(0.5)
        back_at = outage(redis_server)
        again = wait_for(lambda: started_after(away_lab, back_at), 15, "the worker consumes again")
        load.pause(1)

    figure(f"Redis {name}: longest answer to a POST", load.worst().seconds)
    figure(f"Redis {name}: consuming again", again)
    assert worker.poll() is None
    assert worker_processes(away_lab) == processes
    assert load.ids("POST", 201) == set(load.created)
    ended = assert_consistent(away_lab, load, seconds=30 + seconds)
    for task_id in [running, ends_meanwhile, *load.created]:
        assert (ended[task_id].status, ended[task_id].attempt) == ("COMPLETED", 1)
        assert away_lab.ledger.words(task_id) == ["1 started", "1 finished"]
    assert {answer.status for answer in load.answers} == {201}
    assert load.worst().seconds < LONGEST_ANSWER
    assert again < CONSUMES_AGAIN_AFTER


def worker_processes(lab: Lab) -> set[int]:
    """Return the numbers of the worker's pool processes."""
    return {process.pid for process in pool(psutil.Process(lab.service.processes["worker"].pid))}


def started_after(lab: Lab, moment: float) -> float | None:
    """Return how long after a moment the first task began, or None while none has."""
    for entry in lab.ledger.entries():
        if entry.word == "started" and entry.at > moment:
            return entry.at - moment
    return None
