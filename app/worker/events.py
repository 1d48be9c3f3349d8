"""Tells monitors, such as Flower, of the worker's tasks: many events in one message, and soon.

Celery publishes the events of every turn of its loop by themselves, and with short tasks that is
most of what a worker's main process does. Here they wait for a moment, and go out together as the
list that Celery's own receivers understand (`task.multi`). An event says itself when it happened.
Promises a monitor nothing: what is true is in PostgreSQL.
"""

from collections import deque
from typing import Any

from celery.events import EventDispatcher

# How long an event may wait for others, in seconds, and how many go out together at most.
PAUSE_SECONDS = 0.1
MOST_AT_ONCE = 500
# Messages that are kept while Redis is away; the oldest ones are given up beyond that.
_MOST_KEPT = 100


class BatchingDispatcher(EventDispatcher):
    """Celery's sender of events, with larger batches and a bound on what it keeps.

    When to send a batch that is not full is told to `on_send_buffered`.
    """

    # Of Celery's class: what waits to be sent again, and what waits to be sent, by group.
    _outbound_buffer: deque[Any]
    _group_buffer: dict[str, list[Any]]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "buffer_limit": MOST_AT_ONCE})
        # Without a bound, a Redis that forbids PUBLISH alone would fill the memory.
        self._outbound_buffer = deque(maxlen=_MOST_KEPT)

    def extend_buffer(self, other: Any) -> None:
        """Take over what another one, whose connection is lost, had yet to send.

        Celery leaves behind what has not been tried once, which here is up to a whole batch.
        """
        super().extend_buffer(other)
        for group, events in other._group_buffer.items():
            self._group_buffer[group].extend(events)
