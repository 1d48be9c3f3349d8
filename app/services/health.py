"""Whether the service can do its work, each of its parts asked with a bounded wait.

Database, broker and workers must be there; what has waited longest is told beside them, because a
long queue is no fault that taking the API out of service would mend.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from app.broker.publisher import Publisher
from app.db import schema, waiting, workers
from app.db.engine import Database
from app.errors import Unavailable

# A worker speaks every two seconds or so; after this long without a word it counts as gone. A round
# of its maintenance may take most of that while Redis is frozen.
WORKER_SILENCE_SECONDS = 15.0

# What a program may want of a check's detail, by name; None while it is not known.
Facts = Mapping[str, int | float | None]
_NO_TASK: Facts = {"task_id": None, "seconds": None}


@dataclass(frozen=True, slots=True)
class Check:
    """One part's state: whether it works, how long it took to say so, and what it says."""

    ok: bool
    milliseconds: float
    detail: str
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a part says of itself when it works."""

    detail: str
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Probe:
    """How to ask a part, and the facts of one that does not answer."""

    ask: Callable[[], _Answer]
    unknown: Facts = field(default_factory=dict)


class Health:
    """Asks each part side by side, in threads that no request uses.

    A part that hangs costs its own thread, not the answer: `check` gives up on it after
    `timeout_seconds`. Callers that come meanwhile share the question that is under way. So that no
    part waits for another, `database` should have `CONNECTIONS` of its own.
    """

    # How many of the parts are asked in the database.
    CONNECTIONS = 3

    def __init__(self, database: Database, publisher: Publisher, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._probes: dict[str, _Probe] = {
            "database": _Probe(lambda: _ask_database(database)),
            "broker": _Probe(lambda: _ask_broker(publisher)),
            "workers": _Probe(lambda: _ask_workers(database)),
            "oldest_waiting": _Probe(lambda: _ask_oldest_waiting(database), _NO_TASK),
        }
        self._pool = ThreadPoolExecutor(len(self._probes), thread_name_prefix="health")
        self._asked: dict[str, Future[Check]] = {}

    async def check(self) -> dict[str, Check]:
        """Return the state of every part, within the time-out."""
        for name, probe in self._probes.items():
            asked = self._asked.get(name)
            if asked is None or asked.done():
                self._asked[name] = self._pool.submit(_timed, probe)
        asked_now = dict(self._asked)
        await asyncio.wait(
            [asyncio.wrap_future(future) for future in asked_now.values()],
            timeout=self._timeout_seconds,
        )
        return {name: self._state(name, future) for name, future in asked_now.items()}

    def close(self) -> None:
        """Let the threads end; a hanging one ends by its own time-outs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _state(self, name: str, future: Future[Check]) -> Check:
        if future.done():
            return future.result()
        detail = f"no answer within {self._timeout_seconds:g} s"
        return Check(False, self._timeout_seconds * 1000, detail, self._probes[name].unknown)


def _timed(probe: _Probe) -> Check:
    started = time.monotonic()

    def milliseconds() -> float:
        return round((time.monotonic() - started) * 1000, 1)

    try:
        answer = probe.ask()
        return Check(True, milliseconds(), answer.detail, answer.facts)
    except Unavailable as error:
        return Check(False, milliseconds(), str(error), probe.unknown)


def _ask_database(database: Database) -> _Answer:
    with database.transaction() as connection:
        schema.check(connection)
        workers.ensure_writable(connection)
    return _Answer("answers, and its schema fits")


def _ask_broker(publisher: Publisher) -> _Answer:
    publisher.ping()
    return _Answer("answers")


def _ask_workers(database: Database) -> _Answer:
    with database.transaction() as connection:
        alive = workers.count_alive(connection, WORKER_SILENCE_SECONDS)
    if not alive:
        raise NoWorker(f"no worker has reported within {WORKER_SILENCE_SECONDS:g} s")
    return _Answer(f"{alive} alive")


def _ask_oldest_waiting(database: Database) -> _Answer:
    with database.transaction() as connection:
        oldest = waiting.oldest_waiting(connection)
    if oldest is None:
        return _Answer("no task waits", _NO_TASK)
    return _Answer(
        f"task {oldest.task_id} has waited {oldest.seconds:.1f} s in queue {oldest.queue}",
        {"task_id": oldest.task_id, "seconds": round(oldest.seconds, 3)},
    )


class NoWorker(Unavailable):
    """No worker is alive to run anything."""
