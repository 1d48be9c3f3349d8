"""Requests that wait for the database: bounded, together, and none lost when somebody goes away."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psycopg2
import pytest
import redis

from tests.api.answers import assert_problem
from tests.service import Service
from tests.support import wait_for


@pytest.fixture
def narrow(new_service: Service) -> Service:
    """An API that keeps three new tasks and three reads waiting."""
    new_service.settings |= {"MAX_WAITING_WRITES": "3", "MAX_WAITING_READS": "3"}
    new_service.start_api()
    return new_service


class Table:
    """The task table, as an observer sees it and may lock it."""

    def __init__(self, service: Service) -> None:
        self._url = service.database_url.replace("+psycopg2", "")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let nobody read or write tasks, as a migration at a bad moment does."""
        connection = psycopg2.connect(self._url)
        connection.cursor().execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        try:
            yield
        finally:
            connection.close()

    def ask(self, query: str) -> list[tuple]:
        connection = psycopg2.connect(self._url)
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def titles(self) -> list[str]:
        return [title for (title,) in self.ask("SELECT title FROM tasks ORDER BY id")]

    def wait_for_waiting(self, count: int) -> None:
        """Wait until so many of the service's statements wait for the lock."""
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database() AND application_name = 'task-manager api'"
        )
        wait_for(lambda: self.ask(query) >= [(count,)], 5, f"{count} statements wait")


def test_beyond_what_may_wait_requests_are_turned_away_at_once(narrow: Service) -> None:
    service, table = narrow, Table(narrow)
    path = f"/tasks/{service.create(title='first')['id']}"

    def write(number: int) -> httpx.Response:
        body = {"title": f"waits {number}"}
        return httpx.post(f"{service.url}/tasks/", json=body, timeout=15)

    def read(number: int) -> httpx.Response:
        return httpx.get(service.url + path, timeout=15)

    with ThreadPoolExecutor(20) as threads:
        with table.locked():
            asked = [[threads.submit(ask, n) for n in range(10)] for ask in (write, read)]
            for requests in asked:
                wait_for(lambda each=requests: sum(r.done() for r in each) == 7, 4, "7 are told")
                for answer in (request.result() for request in requests if request.done()):
                    assert "wait already" in assert_problem(answer, 503)["detail"]
                    assert int(answer.headers["retry-after"]) > 0
            # Whether the process answers is no question of how much waits.
            assert httpx.get(f"{service.url}/health/live", timeout=5).status_code == 200
        writes, reads = ([request.result().status_code for request in each] for each in asked)
    assert sorted(writes) == [201] * 3 + [503] * 7
    assert sorted(reads) == [200] * 3 + [503] * 7
    assert len(table.titles()) == 1 + 3


def ask_for(service: Service, title: str) -> socket.socket:
    """Ask for a new task, and return the connection on which the answer will come."""
    body = b'{"title": "%b"}' % title.encode()
    connection = socket.create_connection(("127.0.0.1", service.port), 15)
    connection.sendall(
        b"POST /tasks/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    return connection


def test_a_client_that_goes_away_costs_no_other_its_task(narrow: Service) -> None:
    service, table = narrow, Table(narrow)
    with ThreadPoolExecutor() as threads:
        with table.locked():
            post = threads.submit(service.create, title="stays")
            table.wait_for_waiting(1)
            ask_for(service, "gone").close()
        assert post.result()["title"] == "stays"
    # As if only its answer had been lost.
    wait_for(lambda: table.titles() == ["stays", "gone"], 5, f"both are stored: {table.titles()}")
    assert service.create(title="next")["id"]


def test_what_was_asked_for_before_a_shutdown_is_stored_answered_and_published(
    narrow: Service,
) -> None:
    service, table = narrow, Table(narrow)
    process = service.processes["api"]
    titles = ["last 0", "last 1", "last 2"]
    with contextlib.ExitStack() as connections:
        with table.locked():
            asked = [connections.enter_context(ask_for(service, title)) for title in titles]
            table.wait_for_waiting(1)
            # Whoever is answered has come after those, and the API has read what they ask.
            assert httpx.get(f"{service.url}/health/live", timeout=5).status_code == 200
            wait_for(lambda: service.log("api"), 5, "the log has begun")
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: "Shutting down" in service.log("api"), 5, "the API is told to stop")
        for connection in asked:
            assert connection.recv(64).startswith(b"HTTP/1.1 201 ")
    assert process.wait(15) in {0, -signal.SIGTERM}
    assert sorted(table.titles()) == titles
    client = redis.Redis.from_url(service.redis_url, socket_timeout=5)
    assert client.llen("medium") == 3
    client.close()
    assert table.ask("SELECT DISTINCT status FROM tasks") == [("PENDING",)]
