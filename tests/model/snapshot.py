"""What everybody can see: the committed rows and timelines, read by a connection of its own.

Owns the SQL by which the model looks at the database and moves its clocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg2
import psycopg2.errors

from tests.model.timeline import Event
from tests.model.violation import require


class Attempt(NamedTuple):
    """An attempt on record."""

    number: int
    worker: str
    outcome: str
    error: str | None


class Line(NamedTuple):
    """A line that was logged; what it says names the worker."""

    attempt: int
    number: int
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """A task as it is committed. Ages are in seconds; negative ones lie in the future."""

    id: int
    status: str
    priority: str
    queue: str
    attempt: int
    max_attempts: int
    failures: int
    crashes: int
    worker: str | None
    cancel_requested: bool
    due_since: float
    dispatched_since: float | None
    # None when nothing runs.
    lapsed: bool | None
    # For how long it has been left to others, if it was, by workers that do not know its type.
    set_aside_for: float | None
    # Whether its latest attempt began when it was due.
    began_in_time: bool | None
    result: Any
    error_info: str | None
    completed_at: str | None
    timeline: tuple[Event, ...]
    # The attempts on record, and the lines that attempts have logged, each in order.
    attempts: tuple["Attempt", ...]
    logged: tuple["Line", ...]

    @property
    def ending(self) -> tuple[object, ...]:
        """What never changes again once a task is final."""
        return (self.status, self.attempt, self.result, self.error_info, self.completed_at)


Snapshot = Mapping[int, Row]

# A full join, so that lines without a task are seen too; of the rest foreign keys say so.
_READ = """
SELECT t.id, t.status, t.priority, t.queue, t.attempt, t.max_attempts, t.failures, t.crashes,
       t.worker, t.cancel_requested_at IS NOT NULL,
       extract(epoch FROM now() - t.run_at)::float8,
       extract(epoch FROM now() - t.dispatched_at)::float8,
       t.lease_expires_at < now(), extract(epoch FROM now() - t.set_aside_at)::float8,
       t.started_at >= t.run_at, t.result, t.error_info, t.completed_at::text, e.lines,
       (SELECT json_agg(json_build_array(number, worker, outcome, error) ORDER BY number)
        FROM task_attempts WHERE task_id = t.id),
       (SELECT json_agg(json_build_array(attempt, number, message) ORDER BY attempt, number)
        FROM task_logs WHERE task_id = t.id)
FROM tasks t
FULL JOIN (
    SELECT task_id, json_agg(json_build_array(event, status, attempt, detail) ORDER BY id) AS lines
    FROM task_events GROUP BY task_id
) e ON e.task_id = t.id
ORDER BY t.id
"""

TABLES = ("tasks", "task_events", "task_attempts", "task_logs")
_DUMP = "SELECT " + ", ".join(
    f"(SELECT coalesce(jsonb_agg(t), '[]') FROM {table} t)::text" for table in TABLES
)
_LOAD = "DELETE FROM tasks" + "".join(
    f"; INSERT INTO {table} OVERRIDING SYSTEM VALUE"
    f" SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s)"
    for table in TABLES
)


class Observer:
    """Reads, and moves clocks, on a connection in autocommit."""

    def __init__(self, connection: "psycopg2.extensions.connection") -> None:
        self._cursor = connection.cursor()

    def read(self) -> dict[int, Row]:
        """Return all tasks with their timelines."""
        self._cursor.execute(_READ)
        rows: dict[int, Row] = {}
        for *columns, events, attempts, lines in self._cursor:
            require(columns[0] is not None, "no line outlives its task", events)
            rows[columns[0]] = Row(
                *columns,
                tuple(Event(*event) for event in events or []),
                tuple(Attempt(*attempt) for attempt in attempts or []),
                tuple(Line(*line) for line in lines or []),
            )
        return rows

    def pass_time(self, seconds: float) -> bool:
        """Make everything that waits this much older, unless a row is locked.

        What is set aside has been met and set aside again and again meanwhile, the last time now.
        """
        return self._unless_locked(
            "WITH free AS (SELECT id FROM tasks FOR UPDATE NOWAIT)"
            " UPDATE tasks SET run_at = CASE WHEN set_aside_at IS NULL"
            " THEN run_at - make_interval(secs => %s) ELSE least(run_at, now()) END,"
            " dispatched_at = dispatched_at - make_interval(secs => %s),"
            " set_aside_at = set_aside_at - make_interval(secs => %s)"
            " WHERE id IN (SELECT id FROM free)",
            (seconds, seconds, seconds),
        )

    def lapse(self, task_id: int) -> bool:
        """End a running task's lease, unless its row is locked."""
        return self._unless_locked(
            "WITH free AS (SELECT id FROM tasks WHERE id = %s AND status = 'IN_PROGRESS'"
            " FOR UPDATE NOWAIT)"
            " UPDATE tasks SET lease_expires_at = now() - interval '1 s'"
            " WHERE id IN (SELECT id FROM free)",
            (task_id,),
        )

    def _unless_locked(self, sql: str, parameters: tuple[object, ...]) -> bool:
        try:
            self._cursor.execute(sql, parameters)
        except psycopg2.errors.LockNotAvailable:
            return False
        return True

    def waiting_for_locks(self, backends: list[int]) -> set[int]:
        """Return those of these backends that wait for a lock, all seen at one moment."""
        # PostgreSQL's manual, "pg_locks": one look takes all partitions of the lock table.
        self._cursor.execute(
            "SELECT DISTINCT pid FROM pg_locks WHERE NOT granted AND pid = ANY(%s)", (backends,)
        )
        return {pid for (pid,) in self._cursor}

    def has_written(self, backend: int) -> bool:
        """Return whether a backend's transaction has written or locked a row."""
        self._cursor.execute(
            "SELECT backend_xid IS NOT NULL FROM pg_stat_get_activity(%s)", (backend,)
        )
        return (self._cursor.fetchone() or (False,))[0]

    def interrupt(self, backend: int) -> None:
        """End what a backend waits for, as the death of its client does."""
        self._cursor.execute("SELECT pg_cancel_backend(%s)", (backend,))

    def disconnect(self, backend: int) -> None:
        """Take a backend's connection away, and wait until its locks are gone."""
        self._cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))

    def dump(self) -> tuple[str, ...]:
        """Return all rows and lines, for `load`."""
        self._cursor.execute(_DUMP)
        return tuple(self._cursor.fetchone() or ())

    def load(self, dumped: tuple[str, ...]) -> None:
        """Put back what was dumped, in the place of everything."""
        self._cursor.execute(_LOAD, dumped)

    def savepoint(self, name: str) -> None:
        """Mark where to come back to."""
        self._cursor.execute(f"SAVEPOINT {name}")

    def back(self, name: str) -> None:
        """Undo what was done since the savepoint, which stays."""
        self._cursor.execute(f"ROLLBACK TO SAVEPOINT {name}")

    def now(self) -> datetime:
        """Return the time of the transaction."""
        self._cursor.execute("SELECT now()")
        return (self._cursor.fetchone() or ())[0]

    def clear(self) -> None:
        """Delete everything, between two examples."""
        self._cursor.execute("DELETE FROM tasks")
