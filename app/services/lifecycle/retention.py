"""Deletes ended tasks when their time is over, slowly enough that nobody else notices.

The last step of a maintenance round: at most a second's share of what a busy service creates, in
transactions that take a moment each. What is overdue for longer is caught up with over many rounds.
"""

import logging
import time

from app.db import retention as store
from app.db.engine import Database
from app.errors import DatabaseUnavailable
from app.settings import Settings

log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400
# Tasks in one transaction at most, and in one round. Two rounds a second delete more than a service
# on two cores can create, and leave most of each second to others.
_BATCH = 200
_PER_ROUND = 1000
# Seconds after which a step leaves the rest to the next round.
_STEP_SECONDS = 0.15
# A batch that takes longer than this, in seconds, is followed by smaller ones: a task may have a
# hundred thousand lines of history.
_BATCH_SECONDS = 0.05
# Seconds between two looks when nothing more is due.
_PAUSE_SECONDS = 10.0


class Retention:
    """One for each maintenance thread; it remembers when to look again, and how much at once."""

    def __init__(self, settings: Settings) -> None:
        self._age_seconds = settings.retention_days * _DAY_SECONDS
        self._batch = _BATCH
        self._next_look = 0.0
        # Deleted since the last word about it in the log.
        self._deleted = 0

    def step(self, database: Database) -> None:
        """Delete what is due, up to a round's share; say nothing to the database most of the time.

        Raises DatabaseUnavailable.
        """
        began_at = time.monotonic()
        if not self._age_seconds or began_at < self._next_look:
            return
        left = _PER_ROUND
        while left and time.monotonic() < began_at + _STEP_SECONDS:
            wanted = min(self._batch, left)
            deleted = self._delete(database, wanted)
            left -= deleted
            if deleted < wanted:
                self._next_look = began_at + _PAUSE_SECONDS
                self._report()
                return

    def _delete(self, database: Database, wanted: int) -> int:
        began_at = time.monotonic()
        try:
            with database.statement() as connection:
                deleted = store.delete_ended(connection, self._age_seconds, wanted)
        except DatabaseUnavailable:
            # That may have been its time-out.
            self._batch = 1
            raise
        is_slow = time.monotonic() > began_at + _BATCH_SECONDS
        self._batch = max(1, wanted // 2) if is_slow else min(_BATCH, self._batch * 2)
        self._deleted += deleted
        return deleted

    def _report(self) -> None:
        if self._deleted:
            log.info("Deleted %d tasks whose time to be kept was over", self._deleted)
        self._deleted = 0
