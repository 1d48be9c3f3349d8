"""The embedded servers: crashes, leftovers, folders that others may not enter."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from app.local import postgres as postgres_module
from app.local.errors import LocalRunError
from app.local.postgres import EmbeddedPostgres
from app.local.probes import redis_problem
from app.local.valkey import EmbeddedValkey
from tests.servers import ROOT


def execute(server: EmbeddedPostgres, sql: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(server.url(), connect_timeout=5)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "postgres"


@pytest.fixture
def server(home: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(home, durable=False) as server:
        yield server


def test_a_new_database_is_empty_and_speaks_utf_8(server: EmbeddedPostgres) -> None:
    [(encoding, collation)] = execute(
        server,
        "SELECT pg_encoding_to_char(encoding), datlocale FROM pg_database"
        " WHERE datname = current_database()",
    )

    assert (encoding, collation) == ("UTF8", "C.UTF-8")
    assert execute(server, "SELECT upper('ё')") == [("Ё",)]


def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres) -> None:
    user, _, rest = server.url().rpartition("@")
    for wrong in (f"{user}x@{rest}", f"{user.rpartition(':')[0]}@{rest}"):
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(wrong, connect_timeout=5)


def test_a_killed_postgres_comes_back_with_its_data_on_its_port(server: EmbeddedPostgres) -> None:
    execute(server, "CREATE TABLE kept (number integer)")
    url = server.url()
    for number in range(3):
        execute(server, f"INSERT INTO kept VALUES ({number})")
        server.kill()
        server.start()

    assert server.url() == url
    assert execute(server, "SELECT count(*) FROM kept") == [(3,)]


def test_a_killed_valkey_comes_back_with_its_data_on_its_port(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey", durable=False, databases=64) as server:
        for _ in range(3):
            with redis.Redis.from_url(server.url(63), socket_timeout=5) as client:
                client.incr("count")
            server.kill()
            server.start()

        with redis.Redis.from_url(server.url(63), socket_timeout=5) as client:
            assert client.get("count") == b"3"


def test_nobody_gets_into_valkey_without_the_password(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey", durable=False) as server:
        problem = redis_problem(f"redis://127.0.0.1:{server.port}")

    assert problem is not None
    assert "NOAUTH" in problem


def test_a_cluster_that_was_interrupted_in_the_making_is_made_anew(home: Path) -> None:
    (home / "cluster.new" / "base").mkdir(parents=True)

    with EmbeddedPostgres(home, durable=False) as server:
        assert execute(server, "SELECT 1") == [(1,)]
    assert not (home / "cluster.new").exists()


def test_a_failed_initdb_shows_its_last_lines_and_leaves_no_cluster(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "INITDB", ("--no-such-option",))

    with (
        pytest.raises(LocalRunError, match=r"(?s)initdb ended with exit code 1.*no-such-option"),
        EmbeddedPostgres(home, durable=False),
    ):
        pass
    assert not (home / "cluster").exists()


def test_a_process_number_left_by_a_crash_may_be_anothers_by_now(home: Path) -> None:
    with EmbeddedPostgres(home, durable=False) as server:
        pid_file = home / "cluster" / "postmaster.pid"
        left = pid_file.read_text()
        server.kill()
    # As after a restart of the machine: the number is that of a living process, ours.
    pid_file.write_text(left.replace(left.splitlines()[0], str(os.getpid()), 1))

    with EmbeddedPostgres(home, durable=False) as server:
        assert execute(server, "SELECT 1") == [(1,)]


def test_a_server_of_an_earlier_run_that_is_still_stopping_is_waited_for(home: Path) -> None:
    with EmbeddedPostgres(home, durable=False) as first:
        execute(first, "CREATE TABLE kept ()")
        second = EmbeddedPostgres(home, durable=False)
        os.kill(first.pid, signal.SIGINT)
        with second:
            assert execute(second, "SELECT count(*) FROM kept") == [(0,)]


def test_a_server_of_an_earlier_run_that_stays_is_named(
    home: Path, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "PREDECESSOR_SECONDS", 0.1)

    with (
        pytest.raises(LocalRunError, match=rf"earlier run \(process {server.pid}\) still uses"),
        EmbeddedPostgres(home, durable=False),
    ):
        pass
    assert execute(server, "SELECT 1") == [(1,)]


def test_servers_run_below_a_folder_that_only_we_may_enter(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with (
        EmbeddedPostgres(closed / "postgres", durable=False) as postgres,
        EmbeddedValkey(closed / "valkey", durable=False) as valkey,
    ):
        execute(postgres, "CREATE TABLE kept ()")
        owners = {psutil.Process(server.pid).uids().real for server in (postgres, valkey)}
        assert 0 not in owners
        postgres.kill()
        postgres.start()
        assert execute(postgres, "SELECT count(*) FROM kept") == [(0,)]

    assert closed.stat().st_mode & 0o777 == 0o700


def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    with (
        EmbeddedPostgres(tmp_path / "postgres", durable=False) as postgres,
        EmbeddedValkey(tmp_path / "valkey", durable=False) as valkey,
    ):
        processes = [
            family
            for server in (postgres, valkey)
            for top in [psutil.Process(server.pid)]
            for family in (top, *top.children(recursive=True))
        ]
        assert len(processes) > 3

    assert not [process for process in processes if process.is_running()]


def test_a_scratch_database_is_gone_with_its_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.local.scratch", "sh", "-c", 'echo "$DATABASE_URL"; exit 3'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 3
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        psycopg2.connect(done.stdout.strip(), connect_timeout=5)
