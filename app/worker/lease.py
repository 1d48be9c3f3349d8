"""Keeps the lease of the attempt that this process runs, and hears when it is to stop.

A thread beside the main one renews the lease at every heartbeat, in one statement that also takes
the progress along and brings back whether a cancel was asked for. While nothing runs it sleeps. It
promises that a handler is stopped before its lease can have lapsed, as far as Python lets it.
"""

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

from app.db import attempts as store
from app.db import history
from app.db.engine import Database
from app.errors import Unavailable
from app.services.lifecycle import attempts
from app.services.lifecycle.attempts import Failed, Interrupted, Stopped
from app.settings import Settings
from app.worker.interruption import Run, StopReason
from app.worker.vitals import OwnVitals

# The parts of a lease after which waiting for a renewal ends, so that there is time to stop, and
# after which a handler that has not stopped is killed. At 0.9 the main process would do it.
_LATEST_RENEWAL, _LATEST_STOP = 0.7, 0.85

log = logging.getLogger(__name__)


class LeaseKeeper:
    """One for each process that runs tasks."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._run: Run | None = None
        self._claimed_at = 0.0
        self._renewed_at = 0.0
        # When the run's next heartbeat is due, and when the thread looks next by itself, both by
        # time.monotonic(). Where a run's time to stop ends sooner than a heartbeat, that is due.
        self._due_at = self._looks_at = math.inf
        # Whether a run has begun since the thread looked last.
        self._is_in_use = False
        self._changed = threading.Condition()
        self._vitals = OwnVitals()
        threading.Thread(target=self._keep, name="lease", daemon=True).start()

    @contextmanager
    def watching(self, run: Run, claimed_at: float) -> Iterator[None]:
        """Keep a run's lease while the block lasts. `claimed_at` is by time.monotonic()."""
        with self._changed:
            self._run = run
            self._claimed_at = self._renewed_at = claimed_at
            self._vitals.leased(run.task.id, claimed_at, self._ends_at(run))
            self._beat_in(min(self._settings.heartbeat_seconds, self._seconds_left(run)))
            self._is_in_use = True
            # Most runs are over before the thread looks. To wake it for each of them, and again at
            # its end, costs two changes of threads, which is more than all else that is done here.
            if self._due_at < self._looks_at:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._run = None
                self._due_at = math.inf
                self._vitals.idle()

    def _keep(self) -> None:
        while True:
            run = self._next_heartbeat()
            try:
                self._beat(run)
            except Exception:
                # A bug here must not end the thread, or no later task could be cancelled.
                log.exception("task %d: the heartbeat failed", run.task.id)

    def _next_heartbeat(self) -> Run:
        """Sleep until a run is due for a heartbeat, and return it."""
        with self._changed:
            while True:
                left = self._due_at - time.monotonic()
                if self._run is not None and left <= 0:
                    # The usual pause, should the heartbeat fail.
                    self._beat_in(self._settings.heartbeat_seconds)
                    self._looks_at = 0.0
                    return self._run
                self._looks_at = self._due_at
                if self._is_in_use:
                    # Where there was a run, there will be another one soon.
                    left = min(left, self._settings.heartbeat_seconds)
                    self._looks_at = time.monotonic() + left
                    self._is_in_use = False
                self._changed.wait(None if self._looks_at == math.inf else left)

    def _beat_in(self, seconds: float) -> None:
        self._due_at = time.monotonic() + seconds

    def _beat(self, run: Run) -> None:
        # Renewed while it is being stopped too: a handler that is slow to stop still runs.
        heard = None if run.stop_reason is StopReason.LOST else self._renew(run)
        reason = run.stop_reason or heard or self._time_is_up(run)
        if reason is None:
            self._wait_no_longer_than(self._seconds_left(run), run)
            return
        left = run.stop(reason, self._grace_seconds(reason))
        if left <= 0:
            log.warning("task %d does not stop; its process is killed", run.task.id)
            run.kill_process(lambda: self._settle_stopped(run))
        self._wait_no_longer_than(left, run)

    def _wait_no_longer_than(self, seconds: float, run: Run) -> None:
        """Let the run's next heartbeat come so soon, unless another run has begun meanwhile."""
        with self._changed:
            if self._run is run:
                self._beat_in(min(self._settings.heartbeat_seconds, seconds))

    def _grace_seconds(self, reason: StopReason) -> float:
        """Return how long a run may take to stop; with the lease lost, no longer than that ran."""
        grace = self._settings.cancel_grace_seconds
        left = (_LATEST_STOP - _LATEST_RENEWAL) * self._settings.lease_seconds
        return min(grace, left) if reason is StopReason.LOST else grace

    def _ends_at(self, run: Run) -> float:
        """Return when a run is over at the latest, because its process is killed then."""
        grace = self._settings.cancel_grace_seconds
        return self._claimed_at + run.terms.limit_seconds + grace

    def _seconds_left(self, run: Run) -> float:
        """Return how long a run may still take."""
        return self._claimed_at + run.terms.limit_seconds - time.monotonic()

    def _time_is_up(self, run: Run) -> StopReason | None:
        return StopReason.TIMED_OUT if self._seconds_left(run) <= 0 else None

    def _renew(self, run: Run) -> StopReason | None:
        """Renew the lease; return why the run is to stop, if it is."""
        # Counted from before the statement, so that the lease lasts longer than we think.
        asked_at = time.monotonic()
        context = run.context
        try:
            cancelled = self._renew_in_database(
                run, context.stored_fraction(), context.progress_note
            )
        except Unavailable as error:
            silent = time.monotonic() - self._renewed_at
            if silent < _LATEST_RENEWAL * self._settings.lease_seconds:
                return None
            log.error("task %d: its lease could not be renewed: %s", run.task.id, error)
            return StopReason.LOST
        if cancelled is None:
            log.warning("task %d: attempt %d is over", run.task.id, run.task.attempt)
            return StopReason.LOST
        with self._changed:
            if self._run is run:
                self._renewed_at = asked_at
                self._vitals.leased(run.task.id, asked_at, self._ends_at(run))
        return StopReason.CANCELLED if cancelled else None

    def _renew_in_database(self, run: Run, progress: float, note: str | None) -> bool | None:
        lines = run.context.lines.waiting()
        # The lines of a lease that turns out to be lost are not stored.
        with self._database.transaction() if lines else self._database.statement() as connection:
            heard = store.renew(connection, run.task, self._settings.lease_seconds, progress, note)
            if lines and heard is not None:
                history.add_lines(connection, run.task, lines)
        run.context.lines.stored(lines)
        return heard

    def _settle_stopped(self, run: Run) -> None:
        try:
            lines = run.context.lines.waiting()
            attempts.settle(
                self._database, run.task, outcome_of_stop(run), run.terms.backoff, lines
            )
        except Unavailable as error:
            log.error("task %d: its end is left to a rescue: %s", run.task.id, error)


def outcome_of_stop(run: Run) -> Stopped | Failed | Interrupted:
    """Return how an attempt ended that was stopped."""
    match run.stop_reason:
        case StopReason.TIMED_OUT:
            return attempts.ran_too_long(run.terms.limit_seconds)
        case StopReason.LOST:
            # If it still is this attempt's after all, because the database was away for everybody,
            # nothing has crashed and the task is simply handed back.
            return Interrupted()
        case StopReason.CANCELLED | None:
            return Stopped()
        case _:
            assert_never(run.stop_reason)
