"""Durable embedded servers, and the service's processes on them as people start them, under load.

What `benchmarks.scaling` measures is started, filled, loaded and counted here. The load is wrk's,
which must be installed; an answer that is an error fails the measurement.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg2
import redis

from app.broker.celery import create_celery
from app.broker.publisher import Publisher
from app.db.engine import Database
from app.domain.priority import QueueName
from app.domain.task import TaskMessage
from app.local.ports import free_port
from app.local.postgres import EmbeddedPostgres
from app.local.valkey import EmbeddedValkey
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("tasks", "task_events", "task_attempts")
BODY = '{"title": "a task of the benchmark", "description": "It has nothing to do."}'
POST = f"""
wrk.method, wrk.body = "POST", '{BODY}'
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""
# As many ended tasks as a service leaves that never fails, each with its history.
ENDED = """
WITH made AS (
    INSERT INTO tasks (title, description, priority, status, type, queue, attempt, started_at,
                       completed_at, dispatched_at, worker, progress, result)
    SELECT 'a task of the benchmark', 'It has nothing to do.', 'MEDIUM', 'COMPLETED',
           'simulated_work', 'medium', 1, t, t, t, 'worker@machine/12345', 1,
           '"Task 123456 completed after 0 s of simulated work."'
    FROM (SELECT now() - interval '30 d' + n * interval '1 ms' AS t
          FROM generate_series(1, %(count)s) AS n) AS times
    RETURNING id, completed_at
), attempted AS (
    INSERT INTO task_attempts (task_id, number, worker, started_at, finished_at, outcome)
    SELECT id, 1, 'worker@machine/12345', completed_at, completed_at, 'COMPLETED' FROM made
)
INSERT INTO task_events (task_id, at, event, status, attempt)
SELECT id, completed_at, event, status, least(1, place - 1) FROM made,
    (VALUES (1, 'created', 'NEW'), (2, 'claimed', 'IN_PROGRESS'), (3, 'completed', 'COMPLETED'))
    AS lines (place, event, status)
"""
WAITING = """
INSERT INTO tasks (title, description, priority, status, type, queue, dispatched_at)
SELECT 'a task of the benchmark', 'It has nothing to do.', 'LOW', 'PENDING', 'simulated_work',
       'low', now() FROM generate_series(1, %(count)s)
RETURNING id, dispatched_at
"""


@dataclass(frozen=True)
class Size:
    """How much of everything: tasks that wait or have ended, seconds and rounds of load, ..."""

    rows: int
    seconds: int
    rounds: int
    # Tasks that workers are given to run.
    backlog: int


class Stage:
    """The servers, and the processes of the service on them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        options = ["shared_preload_libraries=pg_stat_statements", "max_connections=200"]
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres", options=options))
        valkey = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        self.url, self.redis_url, self.port = postgres.url(), valkey.url(0), free_port()
        # What is at work, by the name under which its processor time is shown.
        self.running: dict[str, list[int]] = {"PostgreSQL": [postgres.pid], "Redis": [valkey.pid]}
        self.environment = {
            **os.environ,
            "DATABASE_URL": self.url,
            "REDIS_URL": self.redis_url,
            "SIMULATED_WORK_SECONDS": "0",
            "LOG_LEVEL": "WARNING",
        }
        alembic = [sys.executable, "-m", "alembic", "upgrade", "head"]
        subprocess.run(alembic, cwd=ROOT, env=self.environment, check=True, capture_output=True)
        self.settings = Settings(
            database_url=self.url, redis_url=self.redis_url, retention_days=7, _env_file=None
        )
        self.database = Database(self.settings, pool_size=4, application_name="benchmark")
        self.publisher = Publisher(create_celery(self.settings, publisher_only=True))
        self.redis = redis.Redis.from_url(self.redis_url)
        self.watch = psycopg2.connect(self.url, application_name="watch")
        self.watch.autocommit = True
        self.script = folder / "post.lua"
        self.script.write_text(POST, encoding="utf-8")
        self.sql("CREATE EXTENSION pg_stat_statements")

    def sql(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement and return its rows."""
        cursor = self.watch.cursor()
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []

    def number(self, statement: str, **values: Any) -> float:
        """Return a query's only value, 0 for none."""
        return float(self.sql(statement, **values)[0][0] or 0)

    @contextmanager
    def _process(self, name: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.folder / "processes.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.setdefault(name, []).append(process.pid)
        try:
            yield process
        finally:
            self.running[name].remove(process.pid)
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    @contextmanager
    def api(self, processes: int = 1, *, warm: bool = True) -> Iterator[None]:
        """Run the API, with some load behind it if `warm`."""
        command = ["uvicorn", "main:app", "--no-access-log", "--log-level", "warning"]
        command += ["--port", str(self.port), "--workers", str(processes)]
        with self._process("API", *command):
            until(self._answers, 30)
            if warm:
                self.load(2)
            yield

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health/live").is_success
        except httpx.TransportError:
            return False

    @contextmanager
    def workers(self, nodes: int = 1, slots: int = 2) -> Iterator[None]:
        """Run workers, which may not be ready yet."""
        with ExitStack() as stack:
            for node in range(nodes):
                command = ["celery", "-A", "app.worker.celery", "worker", f"-c{slots}"]
                command += [f"--hostname=w{node}@bench"]
                stack.enter_context(self._process("worker", *command))
            yield

    def load(self, seconds: float, connections: int = 16) -> dict[str, float]:
        """Create tasks for so long; return the rate, and latencies in milliseconds."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        done = subprocess.run(
            [*command, "-s", self.script, f"http://127.0.0.1:{self.port}/tasks/"],
            check=True,
            capture_output=True,
            text=True,
        )
        found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
        assert found, done.stdout
        count, duration, p50, p99, errors = map(int, found.groups())
        assert not errors, f"{errors} of {count} answers are errors"
        rate = count / duration * 1e6
        return {"count": count, "rate": rate, "p50": p50 / 1000, "p99": p99 / 1000}

    def clear(self) -> None:
        """Forget all tasks and messages."""
        self.sql("TRUNCATE tasks, task_events, task_attempts, task_logs")
        self.redis.flushall()
        self.sql("CHECKPOINT")

    def ended(self, count: int) -> None:
        """Store so many tasks that ended a month ago, with their history."""
        for _ in range(0, count, 100_000):
            self.sql(ENDED, count=min(count, 100_000))
        self.sql("VACUUM ANALYZE")

    def waiting(self, count: int) -> list[TaskMessage]:
        """Store so many tasks as wait in a queue, and return their messages."""
        messages = [
            TaskMessage(task_id, QueueName.LOW, "simulated_work", "a task of the benchmark", at)
            for task_id, at in self.sql(WAITING, count=count)
        ]
        self.sql("VACUUM ANALYZE")
        return messages

    def publish(self, messages: list[TaskMessage]) -> None:
        """Put messages into their queue."""
        for start in range(0, len(messages), 500):
            assert self.publisher.publish(messages[start : start + 500])

    def wait_until_done(self, seconds: float = 300) -> None:
        """Wait until every task has ended."""
        left = "SELECT count(*) FROM tasks WHERE status IN ('NEW', 'PENDING', 'IN_PROGRESS')"
        until(lambda: self.number(left) == 0, seconds, pause=0.5)

    def connections(self) -> dict[str, int]:
        """Return how many connections each part of the service holds, by its name for itself."""
        rows = self.sql(
            "SELECT application_name, count(*) FROM pg_stat_activity"
            " WHERE application_name ~ 'task-manager' GROUP BY 1 ORDER BY 1"
        )
        return {str(name): int(count) for name, count in rows}

    def counters(self) -> dict[str, float]:
        """Return what the servers have counted so far, this program's own part left out."""
        (calls,) = self.sql(
            "SELECT sum(calls), sum(calls) FILTER (WHERE query ~ '^(BEGIN|COMMIT|ROLLBACK)')"
            " FROM pg_stat_statements WHERE query !~ 'pg_stat|pg_current_wal|count\\('"
        )
        stats = self.redis.info("stats")
        return {
            "statements": float((calls[0] or 0) - (calls[1] or 0)),
            "round trips": float(calls[0] or 0),
            "commits": self.number(
                "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
            ),
            "WAL bytes": self.number("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"),
            "Redis commands": float(stats["total_commands_processed"]),
            "Redis bytes in and out": float(
                stats["total_net_input_bytes"] + stats["total_net_output_bytes"]
            ),
            **{f"processor ms, {name}": self.processor(name) for name in self.running},
        }

    def processor(self, name: str) -> float:
        """Return the milliseconds of processor time that a part and its children have used."""
        total = 0.0
        for pid in self.running[name]:
            main = psutil.Process(pid)
            for process in [main, *main.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    # Those of children that have ended are their parent's.
                    total += sum(process.cpu_times()[:4])
        return total * 1000


def until(probe: Callable[[], object], seconds: float, pause: float = 0.05) -> None:
    """Ask again and again until the answer is true, for so long."""
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline, "nothing comes of it"
        time.sleep(pause)
