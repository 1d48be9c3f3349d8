"""The thread in a worker's main process that says "alive" and does rounds of maintenance.

A Celery bootstep of the worker, not of its consumer: it starts while the broker is down and goes
on through outages. It has connections of its own and shares no lock with the code of tasks, since
new task processes are forked while it runs.
"""

import logging
import os
import queue
import threading
import time
from typing import Any

from celery import bootsteps

from app.broker.publisher import Publisher
from app.db import schema, workers
from app.db.engine import Database
from app.domain.status import Status
from app.errors import TaskNotFound, Unavailable
from app.handlers import registry
from app.services.health import WORKER_SILENCE_SECONDS
from app.services.lifecycle import maintenance
from app.services.lifecycle.attempts import ran_too_long, settle
from app.services.lifecycle.lost_messages import LostMessages
from app.services.lifecycle.retention import Retention
from app.services.tasks import get_task
from app.services.terms import terms_of
from app.settings import get_settings
from app.worker import liveness
from app.worker.consumption import Consumption
from app.worker.watch import killed_for_time

# Seconds between two words of being alive, well within what counts as silence.
_BEAT_SECONDS = 2.0
# Seconds after which a silent worker is taken off the list.
_FORGET_SECONDS = 60 * WORKER_SILENCE_SECONDS
_STOP_SECONDS = 2.0
# The longest that a worker's start waits for the first round; a database may be away.
_FIRST_ROUND_SECONDS = 1.0
# Seconds between two looks for processes of the pool that have died.
_LOOK_SECONDS = 0.5

log = logging.getLogger(__name__)

# Tasks of which Celery said that their process died under them.
crashed_tasks: queue.SimpleQueue[int] = queue.SimpleQueue()


class MaintenanceStep(bootsteps.StartStopStep):
    """Starts the thread with the worker and ends it on its shutdown."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._thread: MaintenanceThread | None = None

    def start(self, worker: Any) -> None:
        """Start the thread."""
        publisher = Publisher(worker.app)
        consumption = Consumption(worker, publisher)
        consumption.start()
        self._thread = MaintenanceThread(
            worker.hostname, worker.concurrency, publisher, consumption
        )
        self._thread.start()
        # At the very first time Redis seems to have lost everything. What waits there is then best
        # compared before this worker takes the first of it.
        self._thread.has_begun.wait(_FIRST_ROUND_SECONDS)
        # The pool hears of a process's death a moment before the system has its exit code, looks,
        # finds none, and looks again only after five seconds: with a slot less, and its task lost.
        worker.timer.call_repeatedly(_LOOK_SECONDS, worker.pool.maintain_pool)

    def stop(self, worker: Any) -> None:
        """End the thread; bounded, since a shutdown must not hang on a database that does."""
        if self._thread is not None:
            self._thread.stop(_STOP_SECONDS)

    def terminate(self, worker: Any) -> None:
        """End the thread on a cold shutdown too."""
        self.stop(worker)


class MaintenanceThread(threading.Thread):
    """One for each worker, in its main process."""

    def __init__(
        self, name: str, concurrency: int, publisher: Publisher, consumption: Consumption
    ) -> None:
        super().__init__(name="maintenance", daemon=True)
        self._worker = name
        self._concurrency = concurrency
        self._publisher = publisher
        self._consumption = consumption
        self._report = liveness.Report()
        self._settings = get_settings()
        # Half of the time in which a message counts as on its way, half as in a worker's hand.
        half = self._settings.redispatch_after_seconds / 2
        self._lost_messages = LostMessages(margin_seconds=half, handover_seconds=half)
        self._retention = Retention(self._settings)
        # One connection holds the lock of a round, the other does the round's work.
        self._database = Database(
            self._settings, pool_size=2, application_name="task-manager maintenance"
        )
        # That the first round is over, or has failed.
        self.has_begun = threading.Event()
        self._stopping = threading.Event()
        self._next_beat = 0.0
        self._trouble: str | None = None

    def run(self) -> None:
        """Do rounds until the worker stops."""
        while not self._stopping.is_set():
            self._report.write(self._consumption.complaint)
            try:
                self._round()
                self._say_trouble(None)
            except Unavailable as error:
                self._say_trouble(str(error))
            except Exception:
                # A bug here must not end the thread: it is what brings lost tasks back.
                log.exception("A round of maintenance failed")
            self.has_begun.set()
            self._stopping.wait(self._settings.maintenance_interval_seconds)
        self._leave()

    def stop(self, timeout_seconds: float) -> None:
        """Ask the thread to end, and wait for it this long."""
        self._stopping.set()
        self.join(timeout_seconds)

    def _round(self) -> None:
        if time.monotonic() >= self._next_beat:
            with self._database.transaction() as connection:
                schema.check(connection)
                # One that takes no messages is no worker to count on, nor are its slots.
                if not self._consumption.complaint:
                    workers.beat(connection, self._worker, self._concurrency, registry.names())
                workers.forget_silent(connection, _FORGET_SECONDS)
            self._next_beat = time.monotonic() + _BEAT_SECONDS
        while not crashed_tasks.empty():
            task_id = crashed_tasks.get()
            try:
                self._rescue_crashed(task_id)
            except Unavailable:
                crashed_tasks.put(task_id)
                raise
        maintenance.run_round(
            self._database, self._publisher, self._settings, self._lost_messages, self._retention
        )

    def _rescue_crashed(self, task_id: int) -> None:
        """Bring a task back at once, if it was this worker's and its process is really gone.

        A doubled message can have died elsewhere while the task's own process is well.
        """
        try:
            task = get_task(self._database, task_id)
        except TaskNotFound:
            _forget_kills(task_id)
            return
        node, _, pid = (task.worker or "").rpartition("/")
        if task.status is Status.IN_PROGRESS and node == self._worker and not _is_alive(int(pid)):
            if (int(pid), task_id) in killed_for_time:
                terms = terms_of(task, self._settings)
                settle(self._database, task, ran_too_long(terms.limit_seconds), terms.backoff)
            else:
                maintenance.rescue_from(self._database, f"{node}/{pid}", self._settings)
        _forget_kills(task_id)

    def _leave(self) -> None:
        try:
            with self._database.transaction() as connection:
                workers.leave(connection, self._worker)
        except Unavailable as error:
            log.warning("Could not take this worker off the list: %s", error)
        self._database.close()

    def _say_trouble(self, trouble: str | None) -> None:
        """Log a change for the worse or the better once, not twice a second."""
        if trouble and trouble != self._trouble:
            log.error("Maintenance waits: %s", trouble)
        elif self._trouble and not trouble:
            log.info("Maintenance goes on")
        self._trouble = trouble


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _forget_kills(task_id: int) -> None:
    for process in [each for each in killed_for_time if each[1] == task_id]:
        killed_for_time.discard(process)
