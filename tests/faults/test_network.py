"""A bad network before PostgreSQL and before Redis, while clients and two workers use them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.faults.conftest import LONG, own_lab
from tests.faults.evidence import chance
from tests.faults.figures import figure
from tests.faults.load import Load
from tests.faults.proxy import FaultProxy
from tests.faults.servers import Plug, RedisPlug, postgres_plug, redis_plug
from tests.faults.verdict import assert_consistent, seconds_until_work_goes_on
from tests.lab import Lab

# What the service promises, in seconds.
WORKS_AGAIN_AFTER = 5.0

# What is done to every connection, and for how many seconds.
FAULTS: dict[str, tuple[Callable[[FaultProxy], None], float]] = {
    "hangs": (FaultProxy.hang, 3 if LONG else 2),
    "refuses": (FaultProxy.refuse, 2 if LONG else 1),
    "resets": (FaultProxy.reset, 0.5),
    **{
        f"cuts answers after {size} bytes": (lambda proxy, size=size: proxy.cut_after(size), 1)
        for size in (0, 5, 100)
    },
    "is slow": (lambda proxy: proxy.slow(16, 0.005), 2 if LONG else 1),
}
if LONG:
    FAULTS |= {
        "hangs for longer than time-outs": (FaultProxy.hang, 9),
        "refuses for long": (FaultProxy.refuse, 12),
        "is very slow": (lambda proxy: proxy.slow(4, 0.02), 6),
        **{
            f"cuts answers after {size} bytes": (lambda proxy, size=size: proxy.cut_after(size), 2)
            for size in (1, 2, 10, 17, 20, 23, 35, 50, 200, 350, 500, 800, 1200, 2500)
        },
    }


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("network")


@pytest.fixture(scope="module")
def postgres_server(postgres: servers.Postgres, directory: Path) -> Iterator[Plug]:
    with postgres_plug(postgres, directory) as plug:
        yield plug


@pytest.fixture(scope="module")
def redis_server(valkey: servers.Redis, directory: Path) -> Iterator[RedisPlug]:
    with redis_plug(valkey, directory) as plug:
        yield plug


@pytest.fixture(scope="module")
def network_lab(postgres_server: Plug, redis_server: RedisPlug, directory: Path) -> Iterator[Lab]:
    """A lab with two workers, which must live through everything here."""
    with own_lab(
        postgres_server.url,
        redis_server.url,
        directory,
        SIMULATED_WORK_SECONDS="0",
        TEST_LENGTHS="0.02 0.1 0.2 0.6",
    ) as own:
        own.service.worker_app = "tests.faults.worker_app"
        own.service.start_worker("first")
        own.service.start_worker("second")
        yield own


@pytest.fixture(scope="module")
def load(network_lab: Lab) -> Load:
    return Load(network_lab.service, chance("a bad network"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("server", ["PostgreSQL", "Redis"])
def test_a_bad_network_loses_doubles_and_halves_nothing(
    network_lab: Lab, postgres_server: Plug, redis_server: RedisPlug, load: Load, server: str
) -> None:
    proxy = (postgres_server if server == "PostgreSQL" else redis_server).proxy
    random = chance(f"the faults before {server}")
    processes = dict(network_lab.service.processes)
    names = [name for name in FAULTS for _ in range(3 if LONG else 1)]
    random.shuffle(names)
    recoveries: dict[str, float] = {}

    with load.running(posters=4, others=2, pause=0.5):
        load.pause(1)
        for name in names:
            make, seconds = FAULTS[name]
            make(proxy)
            load.pause(seconds)
            proxy.heal()
            recovery = seconds_until_work_goes_on(network_lab, 30)
            recoveries[name] = max(recovery, recoveries.get(name, 0))

    print(load.summary())
    for name, recovery in recoveries.items():
        figure(f"network: {server} {name}: work goes on", recovery)
    figure(f"network: {server}: longest answer", load.worst().seconds)
    ended = assert_consistent(network_lab, load, seconds=240 if LONG else 30)
    assert not [row.id for row in ended.values() if row.crashes]
    assert all(process.poll() is None for process in processes.values())
    if server == "Redis":
        # Clients notice nothing of it.
        assert 503 not in {answer.status for answer in load.latest}
    assert max(recoveries.values()) < WORKS_AGAIN_AFTER, recoveries
