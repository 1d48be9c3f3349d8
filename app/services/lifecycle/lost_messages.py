"""Finds the tasks that wait for a message which is no longer in Redis.

A queue is first in, first out, and each message carries the time of its dispatch. So whatever was
dispatched before the oldest message of a queue has been taken from it. A worker needs a moment from
taking a message to claiming its task, and one that just starts, or a machine that has much to do,
needs longer; so nothing is judged by one look. Lost is what had been taken at an earlier look, and
waits at this one still.

Except when Redis has lost everything. To wait then would let what is less urgent, and just not in
Redis yet, run before all that was. What a worker has in its hand is doubled, which runs it once.
"""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.broker.publisher import Publisher
from app.db import maintenance as store
from app.db.engine import Database
from app.domain.priority import QUEUES_BY_URGENCY, QueueName
from app.services.lifecycle.batches import BATCH, batches

log = logging.getLogger(__name__)

# The margin in seconds when all messages are gone, and with them their order: a longer one would
# let less urgent tasks overtake the latest ones.
_NO_ORDER_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class _Look:
    """What was in Redis at a time of the database's clock, which is that of all times here."""

    at: datetime
    # By queue: whatever was dispatched before this had been taken.
    taken_before: Mapping[QueueName, datetime]


class LostMessages:
    """One for each maintenance thread; it remembers its latest looks."""

    def __init__(self, margin_seconds: float, handover_seconds: float) -> None:
        """Prepare.

        Args:
            margin_seconds: by how much the messages of a queue may be out of order, since several
                processes publish.
            handover_seconds: how long a task may wait for its claim when its message was taken.
        """
        self._margin_seconds = margin_seconds
        # Only with tasks that were dispatched so long ago, in seconds, there is anything to do.
        self.least_age_seconds = min(margin_seconds, _NO_ORDER_SECONDS)
        self._handover = timedelta(seconds=handover_seconds)
        # From the latest that is old enough on, in their order.
        self._looks: deque[_Look] = deque()
        # Whether Redis has lost everything since the latest look; and the first look after that,
        # until all of it is marked.
        self._has_forgotten = False
        self._forgetting: _Look | None = None

    @property
    def has_looked(self) -> bool:
        """Whether Redis has answered once, so that what it loses from now on is noticed."""
        return bool(self._looks)

    def mark(self, database: Database, publisher: Publisher, now: datetime) -> None:
        """Look into Redis, and mark for publishing what is not there and was not before.

        `now` is the database's time, from before this call.

        Raises:
            BrokerUnavailable: Redis does not answer, so nothing can be said.
            DatabaseUnavailable: PostgreSQL does not.
        """
        # Redis says so once, and may not answer what is asked next.
        self._has_forgotten |= publisher.has_forgotten()
        oldest = publisher.oldest_messages_at()
        look = _Look(now, {queue: oldest[queue] or now for queue in QUEUES_BY_URGENCY})
        self._note(look)
        if self._has_forgotten:
            self._has_forgotten, self._forgetting = False, look
        earlier = self._forgetting or self._looks[0]
        if not self._forgetting and not self._is_old_enough(earlier, now):
            return
        margin = self.least_age_seconds if self._forgetting else self._margin_seconds
        for queue in QUEUES_BY_URGENCY:
            # Not the earlier look alone: a message that had been taken may have been put back.
            taken_before = min(earlier.taken_before[queue], look.taken_before[queue])
            if not _mark_in(database, queue, taken_before, margin):
                # What is less urgent must not be published before the rest of this queue.
                return
        self._forgetting = None

    def _note(self, look: _Look) -> None:
        while self._looks and self._looks[-1].at > look.at:
            # The database's clock was set back; those would not be old enough for just as long.
            self._looks.pop()
        self._looks.append(look)
        while len(self._looks) > 1 and self._is_old_enough(self._looks[1], look.at):
            self._looks.popleft()

    def _is_old_enough(self, look: _Look, now: datetime) -> bool:
        return look.at <= now - self._handover


def _mark_in(
    database: Database, queue: QueueName, taken_before: datetime, margin_seconds: float
) -> bool:
    """Mark what a queue has lost; return whether that is all, or time ran out."""
    for _ in batches():
        with database.statement() as connection:
            lost = store.forget_lost_messages(
                connection, queue, taken_before, margin_seconds, BATCH
            )
        if lost:
            log.warning("Found %d tasks whose message queue %s has lost", len(lost), queue)
        if len(lost) < BATCH:
            return True
    return False
