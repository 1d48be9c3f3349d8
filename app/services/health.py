"""Whether the service can do its work: database, broker, workers, each with a bounded wait."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from app.broker.publisher import Publisher
from app.db import schema, workers
from app.db.engine import Database
from app.errors import Unavailable

# A worker speaks every two seconds or so; after this long without a word it counts as gone.
WORKER_SILENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """One part's state: whether it works, how long it took to say so, and what is wrong."""

    ok: bool
    milliseconds: float
    detail: str


class Health:
    """Asks each part side by side, in threads that no request uses.

    A part that hangs costs its own thread, not the answer: `check` gives up on it after
    `timeout_seconds`. Callers that come meanwhile share the question that is under way.
    """

    def __init__(self, database: Database, publisher: Publisher, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._probes: dict[str, Callable[[], str]] = {
            "database": lambda: _ask_database(database),
            "broker": lambda: _ask_broker(publisher),
            "workers": lambda: _ask_workers(database),
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
        return {name: self._state(future) for name, future in asked_now.items()}

    def close(self) -> None:
        """Let the threads end; a hanging one ends by its own time-outs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _state(self, future: Future[Check]) -> Check:
        if future.done():
            return future.result()
        detail = f"no answer within {self._timeout_seconds:g} s"
        return Check(False, self._timeout_seconds * 1000, detail)


def _timed(probe: Callable[[], str]) -> Check:
    started = time.monotonic()

    def check(*, ok: bool, detail: Any) -> Check:
        return Check(ok, round((time.monotonic() - started) * 1000, 1), str(detail))

    try:
        return check(ok=True, detail=probe())
    except Unavailable as error:
        return check(ok=False, detail=error)


def _ask_database(database: Database) -> str:
    with database.transaction() as connection:
        schema.check(connection)
    return "answers, and its schema fits"


def _ask_broker(publisher: Publisher) -> str:
    publisher.ping()
    return "answers"


def _ask_workers(database: Database) -> str:
    with database.transaction() as connection:
        alive = workers.count_alive(connection, WORKER_SILENCE_SECONDS)
    if not alive:
        raise NoWorker(f"no worker has reported within {WORKER_SILENCE_SECONDS:g} s")
    return f"{alive} alive"


class NoWorker(Unavailable):
    """No worker is alive to run anything."""
