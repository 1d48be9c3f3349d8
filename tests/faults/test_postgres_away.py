"""PostgreSQL killed, shut down, frozen and read-only, while clients and two workers use it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest

from app.settings import Settings
from tests import servers
from tests.faults.conftest import LONG, own_lab
from tests.faults.evidence import chance
from tests.faults.figures import figure
from tests.faults.load import Load
from tests.faults.servers import Plug, postgres_plug
from tests.faults.verdict import assert_consistent, seconds_until_work_goes_on
from tests.lab import Lab

CONNECT_SECONDS: float = Settings.model_fields["database_connect_timeout_seconds"].default
# The short form shortens what the promises go by: the longest wait for a statement, and the lease.
TIMEOUT_SECONDS = Settings.model_fields["database_timeout_seconds"].default if LONG else 2.5
LEASE_SECONDS = Settings.model_fields["lease_seconds"].default if LONG else 7.0
# What the service promises, in seconds: for an answer, and until work goes on afterwards.
LONGEST_ANSWER: float = CONNECT_SECONDS + TIMEOUT_SECONDS
WORKS_AGAIN_AFTER = 5.0


@pytest.fixture(scope="module")
def postgres_server(
    postgres: servers.Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plug]:
    with postgres_plug(postgres, tmp_path_factory.mktemp("postgres_away")) as plug:
        yield plug


@pytest.fixture(scope="module")
def away_lab(
    postgres_server: Plug, valkey: servers.Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """A lab with two workers, which must live through all the outages here."""
    with (
        valkey.database() as redis_url,
        own_lab(
            postgres_server.url,
            redis_url,
            tmp_path_factory.mktemp("lab"),
            DATABASE_TIMEOUT_SECONDS=str(TIMEOUT_SECONDS),
            LEASE_SECONDS=str(LEASE_SECONDS),
            SIMULATED_WORK_SECONDS="0",
            TEST_LENGTHS="0.02 0.1 0.2 0.6",
        ) as own,
    ):
        own.service.worker_app = "tests.faults.worker_app"
        own.service.start_worker("first")
        own.service.start_worker("second")
        yield own


@pytest.fixture(scope="module")
def load(away_lab: Lab) -> Load:
    return Load(away_lab.service, chance("outages of PostgreSQL"))


Outage = Callable[[Plug, Load], None]


def killed(server: Plug, load: Load) -> None:
    server.kill()
    load.pause(3)
    server.start()


def shut_down(server: Plug, load: Load) -> None:
    server.stop()
    load.pause(3)
    server.start()


def frozen(seconds: float) -> Outage:
    def outage(server: Plug, load: Load) -> None:
        server.freeze()
        load.pause(seconds)
        server.thaw()

    return outage


def read_only(server: Plug, load: Load) -> None:
    """As a server that another one has taken over from, until that one has its address too.

    Whoever keeps a connection from before keeps to the old one.
    """
    name = urlsplit(server.url).path[1:]
    # A session that may write all the same.
    options = "-c default_transaction_read_only=off"
    with closing(psycopg2.connect(server.url, options=options)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        load.pause(3)
        cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


OUTAGES = {
    "killed": killed,
    "read-only": read_only,
    "frozen for longer than time-outs": frozen(LONGEST_ANSWER + 1),
    "frozen for longer than a lease": frozen(LEASE_SECONDS + (5 if LONG else 2)),
}
if LONG:
    OUTAGES["shut down"] = shut_down
    OUTAGES |= {
        f"{name}, round {number}": outage
        for number in range(2, 6)
        for name, outage in OUTAGES.items()
    }
    OUTAGES |= {f"frozen for {seconds} s": frozen(seconds) for seconds in (2, 4.8, 6, 11, 15, 40)}
# Shorter than any time-out: clients only wait.
UNNOTICED = {"frozen for 2 s", "frozen for 4.8 s"}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", OUTAGES)
def test_postgresql_away_is_answered_in_time_and_leaves_nothing_inconsistent(
    away_lab: Lab, postgres_server: Plug, load: Load, name: str
) -> None:
    processes = dict(away_lab.service.processes)
    # Their second attempts, if the outage costs the first ones, are short.
    running = [away_lab.start("long_at_first", seconds=seconds) for seconds in (4, 9)]

    # More than the API has threads: none may wait for a thread and then for the database as well.
    with load.running(posters=20, others=10, pause=2):
        load.pause(1)
        OUTAGES[name](postgres_server, load)
        again = seconds_until_work_goes_on(away_lab, 30)
        load.pause(1)

    print(load.summary())
    figure(f"PostgreSQL {name}: longest answer", load.worst().seconds)
    figure(f"PostgreSQL {name}: work goes on", again)
    ended = assert_consistent(away_lab, load, seconds=30)
    assert {ended[task_id].status for task_id in running} == {"COMPLETED"}
    statuses = {answer.status for answer in load.latest}
    assert statuses >= {200, 201}
    assert (503 in statuses) == (name not in UNNOTICED)
    assert load.worst().seconds < LONGEST_ANSWER, load.worst()
    assert again < WORKS_AGAIN_AFTER
    assert all(process.poll() is None for process in processes.values())
