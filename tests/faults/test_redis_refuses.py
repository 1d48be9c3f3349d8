"""Redis answers and takes nothing: it is full, lacks its replicas, or has become one itself."""

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest
import redis

from app.local.valkey import EmbeddedValkey
from tests import servers
from tests.faults.conftest import own_lab
from tests.faults.figures import figure
from tests.faults.load import Load
from tests.faults.proxy import FaultProxy
from tests.faults.verdict import assert_consistent, seconds_until_work_goes_on
from tests.lab import Lab
from tests.support import free_port, wait_for

# What the service promises, in seconds.
LONGEST_ANSWER = 0.5
WORKS_AGAIN_AFTER = 5.0
REFUSES_FOR = 3.0

_CLOCK = threading.Event()


class Pair:
    """Two servers of the tests' own: no guest may ask a server for what is asked of these."""

    def __init__(self, first: EmbeddedValkey, second: EmbeddedValkey, proxy: FaultProxy) -> None:
        self._url = first.url()
        self._first_port, self._second = first.port, second
        self._proxy = proxy
        with self._client(second.url()) as client:
            # As the two of a pair have.
            client.config_set("requirepass", self._url.split(":")[2].partition("@")[0])

    @property
    def url(self) -> str:
        """The address that the service knows."""
        return self._url.replace(f":{self._first_port}/", f":{self._proxy.port}/")

    @contextmanager
    def _client(self, url: str) -> Iterator[Any]:
        with closing(redis.Redis.from_url(url, socket_timeout=5)) as client:
            yield client

    def ask(self, *command: str) -> None:
        """Ask the first server."""
        with self._client(self._url) as client:
            client.execute_command(*command)

    def fail_over(self) -> None:
        """Let the second server, which is empty, take over the address from the first one."""
        self.ask("REPLICAOF", "127.0.0.1", str(self._second.port))
        self._proxy.redirect("127.0.0.1", self._second.port)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(EmbeddedValkey(directory / name, port=free_port(), durable=False))
            for name in ("first", "second")
        )
        yield Pair(first, second, stack.enter_context(FaultProxy("127.0.0.1", first.port)))


@pytest.fixture(scope="module")
def refused_lab(
    postgres: servers.Postgres, pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """A lab with one worker, which must live through all that is refused here."""
    directory = tmp_path_factory.mktemp("lab")
    with (
        postgres.database() as database_url,
        own_lab(database_url, pair.url, directory, SIMULATED_WORK_SECONDS="0.01") as own,
    ):
        own.service.worker_app = "tests.faults.worker_app"
        own.service.start_worker()
        yield own


REFUSALS = {
    "is full": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "lacks its replicas": (
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
    "is a replica for a while": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_redis_that_refuses_delays_work_and_nothing_else(
    refused_lab: Lab, pair: Pair, name: str
) -> None:
    refuse, take = REFUSALS[name]
    with lived_through(refused_lab, name):
        pair.ask(*refuse)
        wait_for(lambda: not broker_is_well(refused_lab), 2, "/health says that Redis refuses")
        _CLOCK.wait(REFUSES_FOR)
        pair.ask(*take)
    wait_for(lambda: broker_is_well(refused_lab), 2, "/health says that Redis takes messages")


def test_a_worker_that_starts_beside_a_full_redis_empties_it(refused_lab: Lab, pair: Pair) -> None:
    """Nobody else would: what fills it is perhaps what waits to be run."""
    service = refused_lab.service
    assert service.stop("worker") == 0
    waiting = [refused_lab.add("sleep", seconds=0.05) for _ in range(20)]
    refused_lab.dispatch(waiting)
    said_before = len(service.log("worker"))
    refuse, take = REFUSALS["is full"]
    pair.ask(*refuse)
    try:
        service.start_worker()
        for task_id in waiting:
            assert service.wait_until(task_id, "COMPLETED")["attempt"] == 1
        said = service.log("worker")[said_before:]
    finally:
        pair.ask(*take)

    assert "Redis does not store the address of a queue: " in said
    assert "Redis refuses" not in said
    assert "Traceback" not in said
    wait_for(lambda: broker_is_well(refused_lab), 2, "/health says that Redis takes messages")
    seconds_until_work_goes_on(refused_lab, 15)


# The last one here, since there is no way back.
def test_after_a_failover_of_redis_all_go_to_the_new_server(refused_lab: Lab, pair: Pair) -> None:
    """Nobody closes the connections to the old one, which still answers."""
    with lived_through(refused_lab, "has failed over"):
        pair.fail_over()
    wait_for(lambda: broker_is_well(refused_lab), 2, "/health says that Redis takes messages")


def broker_is_well(lab: Lab) -> bool:
    with lab.service.client() as client:
        return bool(client.get("/health").json()["checks"]["broker"]["ok"])


@contextmanager
def lived_through(lab: Lab, name: str) -> Iterator[None]:
    """Let clients post while the block lasts, and assert that it has delayed work alone."""
    service = lab.service
    running = lab.start("sleep", seconds=REFUSES_FOR + 1)
    load = Load(service, random.Random(name))
    log_before = len(service.log("worker").splitlines())

    with load.running(posters=2, others=0, pause=0.3):
        load.pause(0.5)
        yield
        again = seconds_until_work_goes_on(lab, 15)
        load.pause(1)

    figure(f"Redis {name}: longest answer to a POST", load.worst().seconds)
    figure(f"Redis {name}: work goes on", again)
    ended = assert_consistent(lab, load, seconds=30)
    for task_id in [running, *load.created]:
        assert (ended[task_id].status, ended[task_id].attempt) == ("COMPLETED", 1)
        assert lab.ledger.words(task_id) == ["1 started", "1 finished"]
    assert {answer.status for answer in load.answers} == {201}
    assert load.worst().seconds < LONGEST_ANSWER
    assert again < WORKS_AGAIN_AFTER
    assert service.processes["worker"].poll() is None
    said = service.log("worker").splitlines()[log_before:]
    # Celery by itself connects and is refused again many times a second.
    assert sum("Connection to broker lost" in line for line in said) <= REFUSES_FOR + 2
    assert not any("Traceback" in line or "PendingDeprecation" in line for line in said)
