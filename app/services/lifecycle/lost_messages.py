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
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.broker.publisher import Publisher
from app.db import maintenance as store
from app.db.engine import Database
from app.domain.priority import QUEUES_BY_URGENCY, QueueName
from app.services.lifecycle.batches import BATCH, batches

log = logging.getLogger(__name__)

# The margin in seconds when all messages are gone, and with them their order: a longer one would
# let less urgent tasks overtake the latest ones.
_NO_ORDER_SECONDS = 0.3
# Nothing was dispatched before this, so that nothing had been taken by then.
_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Look:
    """What was in Redis at a time of this process's clock, in seconds."""

    at: float
    # By queue, and by the database's clock: whatever was dispatched before this had been taken.
    taken_before: Mapping[QueueName, datetime]


class LostMessages:
    """One for each maintenance thread; it remembers its latest looks."""

    def __init__(
        self,
        margin_seconds: float,
        handover_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            margin_seconds: by how much the messages of a queue may be out of order, since several
                processes publish.
            handover_seconds: how long a task may wait for its claim when its message was taken.
            clock: counts seconds, and is not set back.
        """
        self._clock = clock
        self._margin_seconds = margin_seconds
        # Only with tasks that were dispatched so long ago, in seconds, there is anything to do.
        self.least_age_seconds = min(margin_seconds, _NO_ORDER_SECONDS)
        self._margin = timedelta(seconds=margin_seconds)
        self._handover_seconds = handover_seconds
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
        # The clock is asked once Redis has answered, for which it may have taken its time.
        look = _Look(
            self._clock(),
            {queue: self._taken_before(oldest[queue], now) for queue in QUEUES_BY_URGENCY},
        )
        self._note(look)
        if self._has_forgotten:
            self._has_forgotten, self._forgetting = False, look
        earlier = self._forgetting or self._looks[0]
        if not self._forgetting and not self._is_old_enough(earlier, look.at):
            return
        margin = self.least_age_seconds if self._forgetting else self._margin_seconds
        for queue in QUEUES_BY_URGENCY:
            # Not the earlier look alone: a message that had been taken may have been put back.
            taken_before = min(earlier.taken_before[queue], look.taken_before[queue])
            if not _mark_in(database, queue, taken_before, margin):
                # What is less urgent must not be published before the rest of this queue.
                return
        self._forgetting = None

    def _taken_before(self, oldest: datetime | None, now: datetime) -> datetime:
        """Return from which time on messages are in a queue, by its oldest one.

        One that is dated ahead says nothing of those behind it: the database's clock was set back,
        and they have earlier times.
        """
        if oldest is None:
            return now
        return _BEGINNING if oldest > now + self._margin else oldest

    def _note(self, look: _Look) -> None:
        self._looks.append(look)
        while len(self._looks) > 1 and self._is_old_enough(self._looks[1], look.at):
            self._looks.popleft()

    def _is_old_enough(self, look: _Look, at: float) -> bool:
        return look.at <= at - self._handover_seconds


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
