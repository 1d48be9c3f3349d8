"""Whether this worker takes messages, when there are some and it has slots free for them.

The case to find is that the main thread, which runs Celery's event loop, hangs: such a worker lives
and says so, but runs nothing. So a thread looks at it; not the maintenance thread, whose sign of
life must not wait for a Redis that does not answer. What a restart would not mend is no such case:
Redis or the database away, every slot busy, a queue not to be consumed.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from celery import bootsteps, signals
from celery.worker import state

from app.broker.publisher import Publisher
from app.db import workers
from app.db.engine import Database
from app.errors import Unavailable
from app.settings import get_settings

# For so long without a break there must be messages and a free slot, and none may be taken.
PERIOD_SECONDS = 30.0
# The pause between two looks, since each may ask Redis.
LOOK_SECONDS = 2.0
# Celery's event loop makes a note so often, and hangs when it has made none for a while.
_TURN_SECONDS = 1.0
_HANGS_AFTER_SECONDS = 5.0

# Celery sends one of these for each message that it takes. Its own count of tasks grows later,
# once a process of the pool has begun, and says nothing of messages that are dropped.
_TAKEN = (
    signals.task_received,
    signals.task_rejected,
    signals.task_unknown,
    signals.task_revoked,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Standstill:
    """What one look found: messages and free slots, and none taken since the look before."""

    queues: tuple[str, ...]
    free: int
    slots: int
    loop_hangs: bool

    def complaint(self, seconds: float) -> str:
        names = ", ".join(self.queues)
        holding = f"queue {names} holds" if len(self.queues) == 1 else f"queues {names} hold"
        return (
            f"the worker has taken no message for {seconds:.0f} s though {holding} some"
            f" and {self.free} of {self.slots} slots are free"
            + ("; its event loop hangs" if self.loop_hangs else "")
        )


class Consumption:
    """What is known of one worker. Made in its main thread; `complaint` may be read in any."""

    def __init__(self, worker: Any, publisher: Publisher) -> None:
        self._worker = worker
        self._publisher = publisher
        # Connects when it is asked first, which in a worker that is well it never is.
        self._database = Database(
            get_settings(), pool_size=1, application_name="task-manager liveness"
        )
        # In one line why this worker is no use alive, or nothing.
        self.complaint = ""
        # These are only written by the main thread and only read by the one that looks.
        self._taken = 0
        self._loop_turned_at = time.monotonic()
        self._stops_softly = False
        self._taken_before = 0
        self._looked_at = time.monotonic()
        self._stands_since: float | None = None
        for signal in _TAKEN:
            signal.connect(self._count_taken, weak=False)
        # The timer outlives lost connections, and is not run while Celery connects anew.
        worker.timer.call_repeatedly(_TURN_SECONDS, self._note_turn)
        self._wait_for_soft_shutdown = worker.wait_for_soft_shutdown
        worker.wait_for_soft_shutdown = self._stop_softly

    def _count_taken(self, **details: Any) -> None:
        self._taken += 1

    def _note_turn(self) -> None:
        self._loop_turned_at = time.monotonic()

    def _stop_softly(self) -> None:
        """Note that the worker takes nothing more. Celery says so only after this wait."""
        self._stops_softly = True
        self._wait_for_soft_shutdown()

    def start(self) -> None:
        """Look from time to time, in a thread that ends with the process."""
        threading.Thread(target=self._watch, name="consumption", daemon=True).start()

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_SECONDS):
            now = time.monotonic()
            try:
                self._judge(self._look(now), now)
            except Exception:
                # A bug here must not end the thread, or this worker would stay as it is judged now.
                log.exception("Whether this worker takes messages could not be found out")
            self._looked_at = now

    def _judge(self, found: _Standstill | str, now: float) -> None:
        before = self.complaint
        if isinstance(found, str):
            self._stands_since, self.complaint = None, ""
            if before:
                log.info("The liveness check passes again: %s", found)
            return
        if self._stands_since is None:
            self._stands_since = now
        if now - self._stands_since >= PERIOD_SECONDS:
            self.complaint = found.complaint(now - self._stands_since)
            if not before:
                log.error("The liveness check fails: %s", self.complaint)

    def _look(self, now: float) -> _Standstill | str:
        """Return the standstill, or why there is none."""
        taken, before = self._taken, self._taken_before
        self._taken_before = taken
        if taken != before:
            return "it has taken a message"
        if now - self._looked_at > PERIOD_SECONDS / 2:
            return "it was not watched, as when the machine is suspended"
        if self._is_stopping():
            return "it is being stopped"
        try:
            queues = self._queues_with_messages()
            if not queues:
                return "there is nothing for it to take"
            # Looked at after what takes time, and not in a worker that has yet to start up.
            loop_hangs = time.monotonic() - self._loop_turned_at > _HANGS_AFTER_SECONDS
            slots = int(self._worker.pool.num_processes)
            free = slots - self._busy(loop_hangs=loop_hangs)
        except Unavailable as error:
            return str(error)
        return _Standstill(queues, free, slots, loop_hangs) if free > 0 else "its slots are busy"

    def _is_stopping(self) -> bool:
        # A signal ends in one of Celery's two flags; a remote shutdown only ends the steps.
        flags = (state.should_stop, state.should_terminate)
        return (
            self._stops_softly
            or any(flag is not None and flag is not False for flag in flags)
            or self._worker.blueprint.state != bootsteps.RUN  # type: ignore[attr-defined]  # Stubs.
        )

    def _queues_with_messages(self) -> tuple[str, ...]:
        # -Q, and the remote control's add_consumer and cancel_consumer, change this mapping. To
        # copy its keys is one step of the interpreter, in which the main thread changes nothing.
        consumed = set(self._worker.app.amqp.queues.consume_from)
        lengths = self._publisher.queue_lengths()
        return tuple(queue for queue, length in lengths.items() if length and queue in consumed)

    def _busy(self, *, loop_hangs: bool) -> int:
        """Return how many slots are taken.

        Celery's books say so, until its loop hangs: then tasks that end are never struck off, and
        a worker that was busy would look so for ever. What runs in truth is in the database.
        """
        if not loop_hangs:
            return len(state.reserved_requests)
        with self._database.transaction() as connection:
            return workers.count_running(connection, self._worker.hostname)
