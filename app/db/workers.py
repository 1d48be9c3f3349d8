"""The worker nodes: which are alive, by their own word, and how much they run."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.db.attempts import seconds
from app.db.engine import Connection
from app.db.models import TaskRow, WorkerRow
from app.domain.status import Status


def beat(connection: Connection, name: str, concurrency: int, types: Sequence[str] = ()) -> None:
    """Say that a worker is alive, and which task types it knows."""
    connection.execute(_BEAT, {"name": name, "concurrency": concurrency, "types": list(types)})


_insert = insert(WorkerRow).values(
    name=bindparam("name"), concurrency=bindparam("concurrency"), types=bindparam("types")
)
_BEAT = _insert.on_conflict_do_update(
    index_elements=[WorkerRow.name],
    set_={
        "seen_at": func.now(),
        "concurrency": _insert.excluded.concurrency,
        "types": _insert.excluded.types,
    },
)


def ensure_writable(connection: Connection) -> None:
    """Pass when the server would take a worker's word, without giving it one.

    Raises psycopg2's error from there, as every write would, when it is read-only.
    """
    connection.execute(_LOCK_NONE)


_LOCK_NONE = select(WorkerRow.name).limit(0).with_for_update()


def leave(connection: Connection, name: str) -> None:
    """Take a worker that ends off the list."""
    connection.execute(delete(WorkerRow).where(WorkerRow.name == name))


def forget_silent(connection: Connection, silent_seconds: float) -> None:
    """Take workers off the list that have said nothing for this long."""
    connection.execute(_FORGET, {"p_silent": silent_seconds})


_FORGET = delete(WorkerRow).where(WorkerRow.seen_at < func.now() - seconds("p_silent"))


def count_alive(connection: Connection, silent_seconds: float) -> int:
    """Return how many workers have spoken within this many seconds."""
    return int(connection.execute(_COUNT_ALIVE, {"p_silent": silent_seconds}).scalar_one())


_COUNT_ALIVE = select(func.count()).where(WorkerRow.seen_at >= func.now() - seconds("p_silent"))


def count_running(connection: Connection, name: str) -> int:
    """Return how many attempts a worker's processes run, by their own word."""
    return int(connection.execute(_COUNT_RUNNING, {"p_processes": f"{name}/"}).scalar_one())


_COUNT_RUNNING = select(func.count()).where(
    TaskRow.status == Status.IN_PROGRESS.value,
    func.starts_with(TaskRow.worker, bindparam("p_processes")),
)
