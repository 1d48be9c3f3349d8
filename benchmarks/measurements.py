"""Single measurements, each of one contestant by itself."""

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import redis

from benchmarks.load import Failed, Load
from benchmarks.load import load as put_load
from benchmarks.processes import finished, held, serving, wait_for, working
from benchmarks.servers import Servers

SERVICE, BARE_ROUTE = "main:app", "benchmarks.bare_route:app"
WORKER, BARE_CELERY = "app.worker.celery", "benchmarks.bare_celery"
CONNECTIONS = 16
_NOOP = json.dumps({"title": "Monthly report", "type": "noop"})
# How long any number of tasks may take to be run, in seconds.
_RUN_SECONDS = 300.0


@dataclass(frozen=True)
class Bench:
    """Where measurements are taken, and how long each is."""

    servers: Servers
    logs: Path
    seconds: float
    tasks: int
    # What belongs in the report beside the rows: by subject, the figures of each thing.
    notes: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def note(self, subject: str, what: str, figure: float) -> None:
        """Keep a figure of one round."""
        self.notes.setdefault(subject, {}).setdefault(what, []).append(figure)

    # --- over HTTP

    def http(self, app: str, what: str, connections: int = CONNECTIONS) -> Load:
        """Put load on one route of an application: `post`, `get` or `page`."""
        with self.servers.fresh() as environment, serving(app, environment, self.logs) as (url, _):
            if what != "post":
                self._fill(environment, 200)
            # Long enough for the first plans, caches and connections.
            self.load(url, what, connections, 1.0)
            before = count_tasks(environment)
            found = self.load(url, what, connections, self.seconds)
            if app == SERVICE and what == "post":
                check_stored(count_tasks(environment) - before, found.right, connections)
        return found

    def load(self, url: str, what: str, connections: int, seconds: float) -> Load:
        """Put load on one route of an application that runs."""
        method, path, status, text = {
            "post": ("POST", "/tasks/", 201, '"id":'),
            "get": ("GET", "/tasks/1", 200, '"id":1,'),
            "page": ("GET", "/tasks/", 200, "},{"),
        }[what]
        return put_load(
            url + path,
            method=method,
            status=status,
            text=text,
            connections=connections,
            seconds=seconds,
        )

    def _fill(self, environment: dict[str, str], count: int) -> None:
        """Store ended tasks."""
        execute(
            environment,
            "INSERT INTO tasks (title, description, priority, status, type, queue, attempt,"
            " started_at, completed_at, worker) SELECT 'Monthly report',"
            " 'Collect the figures of November', 'MEDIUM', 'COMPLETED', 'noop', 'medium', 1,"
            " now(), now(), 'a@b/1'"
            f" FROM generate_series(1, {count})",
        )
        execute(environment, "ANALYZE tasks")

    def insert_commit_milliseconds(self) -> float:
        """Return the median of one INSERT's commit on one connection."""
        times = []
        with self.servers.fresh() as environment:
            connection = psycopg2.connect(environment["DATABASE_URL"])
            connection.autocommit = True
            cursor = connection.cursor()
            for _ in range(500):
                began = time.perf_counter()
                cursor.execute(
                    "INSERT INTO tasks (title, description, priority, type, queue)"
                    " VALUES ('Monthly report', 'Collect the figures of November', 'MEDIUM',"
                    " 'noop', 'medium')"
                )
                times.append(time.perf_counter() - began)
            connection.close()
        return statistics.median(times) * 1000

    # --- running

    def run_rate(self, nodes: int = 1) -> float:
        """Return how many tasks a second the service's workers run that all lie ready."""
        with (
            self.servers.fresh() as environment,
            self._workers(WORKER, environment, nodes) as mains,
        ):
            with held(mains):
                self.errand("dispatch", environment, self.tasks)
                began = time.perf_counter()
            _wait_until_ended(environment, self.tasks)
            seconds = time.perf_counter() - began
            check_ran_once(environment, self.tasks)
        return self.tasks / seconds

    def celery_rate(self) -> float:
        """Return how many tasks a second bare Celery runs that all lie ready."""
        with (
            self.servers.fresh() as environment,
            self._workers(BARE_CELERY, environment, 1) as mains,
        ):
            client = redis.Redis.from_url(environment["REDIS_URL"], socket_timeout=5)
            with held(mains):
                self.errand("publish", environment, self.tasks)
                began = time.perf_counter()
            wait_for(lambda: not client.llen("medium"), _RUN_SECONDS, "all ran")
            seconds = time.perf_counter() - began
            client.close()
        return self.tasks / seconds

    @contextmanager
    def _workers(
        self, app: str, environment: dict[str, str], nodes: int
    ) -> Iterator[list[psutil.Process]]:
        with ExitStack() as stack:
            yield [
                stack.enter_context(working(app, environment, self.logs, name=f"worker{number}"))
                for number in range(nodes)
            ]

    def errand(self, what: str, environment: dict[str, str], count: int) -> str:
        """Do something in a process whose settings are these."""
        command = [sys.executable, "-m", "benchmarks.errands", what, str(count)]
        return finished(command, {**_inherited(), **environment}, _RUN_SECONDS)

    # --- one at a time

    def idle_milliseconds(self, count: int = 100) -> float:
        """Return the median time from before a POST until the task is COMPLETED, when idle."""
        times = []
        with (
            self.servers.fresh() as environment,
            serving(SERVICE, environment, self.logs) as (url, _),
            working(WORKER, environment, self.logs),
            closing(HTTPConnection(url.removeprefix("http://"), timeout=10)) as client,
            closing(psycopg2.connect(environment["DATABASE_URL"])) as connection,
        ):
            connection.autocommit = True
            cursor = connection.cursor()
            for _ in range(count):
                asked = time.time()
                # The quickest client that Python has, since Celery's own is in the other figure.
                client.request("POST", "/tasks/", _NOOP, {"Content-Type": "application/json"})
                task_id = json.load(client.getresponse())["id"]
                times.append(_completed_at(cursor, task_id) - asked)
        return statistics.median(times) * 1000

    def celery_idle_milliseconds(self, count: int = 100) -> float:
        """Return the median time from before a publish to the task's run, on idle bare Celery."""
        with self.servers.fresh() as environment, working(BARE_CELERY, environment, self.logs):
            return float(self.errand("time", environment, count))

    def both_rate(self) -> float:
        """Return how many tasks a second end while they are created as fast as they can be."""
        with (
            self.servers.fresh() as environment,
            serving(SERVICE, environment, self.logs) as (url, _),
            working(WORKER, environment, self.logs),
        ):
            self.load(url, "post", CONNECTIONS, 1.0)
            before, began = count_tasks(environment, "COMPLETED"), time.perf_counter()
            self.load(url, "post", CONNECTIONS, 2 * self.seconds)
            ended, seconds = count_tasks(environment, "COMPLETED"), time.perf_counter() - began
        return (ended - before) / seconds


def _completed_at(cursor: Any, task_id: int) -> float:
    """Return when a task is seen to be COMPLETED, which is after the commit of that.

    Its own `completed_at` is from before. To ask takes a part of a millisecond, as does the pause.
    """
    deadline = time.time() + 10
    while time.time() < deadline:
        cursor.execute(f"SELECT status = 'COMPLETED' FROM tasks WHERE id = {task_id}")
        if cursor.fetchone()[0]:
            return time.time()
        time.sleep(0.0002)
    raise AssertionError(f"task {task_id} has not ended")


def _inherited() -> dict[str, str]:
    return {**os.environ, "TASK_MODULES": "benchmarks.noop", "LOG_LEVEL": "WARNING"}


def ask(environment: dict[str, str], query: str) -> list[tuple]:
    """Return the rows of a query."""
    connection = psycopg2.connect(environment["DATABASE_URL"])
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        return cursor.fetchall()
    finally:
        connection.close()


def execute(environment: dict[str, str], statement: str) -> None:
    """Execute a statement, committed by itself."""
    connection = psycopg2.connect(environment["DATABASE_URL"])
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()


def _wait_until_ended(environment: dict[str, str], count: int) -> None:
    """Wait until so many tasks have completed, at next to no cost for whoever runs them."""
    connection = psycopg2.connect(environment["DATABASE_URL"])
    connection.autocommit = True
    cursor = connection.cursor()
    # The newest one ends last, or nearly so; to count them all again and again would cost more.
    is_nearly_done = f"SELECT status = 'COMPLETED' FROM tasks WHERE id = {count}"

    def all_ended() -> bool:
        cursor.execute(is_nearly_done)
        if not cursor.fetchone()[0]:
            return False
        cursor.execute("SELECT count(*) FROM tasks WHERE status = 'COMPLETED'")
        return bool(cursor.fetchone()[0] == count)

    try:
        wait_for(all_ended, _RUN_SECONDS, f"{count} tasks have ended")
    finally:
        connection.close()


def count_tasks(environment: dict[str, str], status: str = "") -> int:
    """Return how many tasks there are, of one status or all."""
    where = f" WHERE status = '{status}'" if status else ""
    return int(ask(environment, f"SELECT count(*) FROM tasks{where}")[0][0])


def check_stored(stored: int, answered: int, connections: int) -> None:
    """Pass if each answer stands for a task. Raises Failed.

    Of the requests before the load and of the load's last ones, those under way may be stored too.
    """
    if not answered <= stored <= answered + 2 * connections:
        raise Failed(f"{answered} tasks were answered and {stored} stored")


def check_ran_once(environment: dict[str, str], count: int) -> None:
    """Pass if each of so many tasks was run to its end, once. Raises Failed."""
    query = """
        SELECT count(*) FROM tasks WHERE status = 'COMPLETED' AND attempt = 1
        AND (SELECT count(*) FROM task_attempts WHERE task_id = id) = 1
        AND (SELECT count(*) FROM task_events WHERE task_id = tasks.id AND event = 'claimed') = 1
        AND (SELECT count(*) FROM task_events WHERE task_id = tasks.id AND event = 'completed') = 1
    """
    right = int(ask(environment, query)[0][0])
    if right != count or count_tasks(environment) != count:
        raise Failed(f"{right} of {count} tasks ran to their end, once")
