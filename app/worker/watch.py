"""The thread in a worker's main process that ends its children before their lease does.

It needs neither the database nor Redis, and works while both are away. A child that was
killed for running too long has timed out; what becomes of another one's task is settled as after
any crash. It promises nothing for the solo pool, which has no
children, nor when the main process itself is frozen.
"""

import logging
import threading
from typing import Any

from celery import bootsteps

from app.settings import get_settings
from app.worker import vitals

# The part of a lease after which a child that has not renewed it is killed: later than it should
# have stopped by itself (`app.worker.lease`), and before the lease can have lapsed.
_LATEST = 0.9
# The longest pause between two looks, as a part of a lease and in seconds.
_PAUSE, _LONGEST_PAUSE_SECONDS = 0.03, 0.5
_STOP_SECONDS = 2.0

log = logging.getLogger(__name__)

# The processes, and the task that each ran, whose death is a time-out and no crash. The maintenance
# thread asks for it when Celery tells it of a death, which takes much longer than to note it here.
killed_for_time: set[tuple[int, int]] = set()


class WatchStep(bootsteps.StartStopStep):
    """Prepares before the pool forks, and watches as long as the worker runs."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._lease_seconds = get_settings().lease_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        # The steps are made before any of them starts, so that no child is forked yet.
        vitals.prepare()

    def start(self, worker: Any) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, worker: Any) -> None:
        """End the thread, after its tasks have ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        vitals.clear()

    def terminate(self, worker: Any) -> None:
        """End the thread on a cold shutdown too."""
        self.stop(worker)

    def _watch(self) -> None:
        pause = min(_LONGEST_PAUSE_SECONDS, _PAUSE * self._lease_seconds)
        while not self._stopping.wait(pause):
            try:
                for killed in vitals.kill_overdue(_LATEST * self._lease_seconds):
                    self._say(killed)
            except OSError:
                # A temporary folder in trouble must not end the thread.
                log.exception("The processes could not be looked after")

    def _say(self, killed: vitals.Killed) -> None:
        if killed.ran_too_long:
            killed_for_time.add((killed.pid, killed.task_id))
            why = "runs too long and does not stop"
        else:
            why = "did not renew the lease"
        log.error("task %d: its process %d %s; it is killed", killed.task_id, killed.pid, why)
