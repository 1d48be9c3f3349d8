"""Celery's consumer, but back at work soon after Redis is, however long that took.

Celery waits up to 30 seconds between two tries to connect, and `ensure_connected` is the only
place where that can be changed.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.worker import state
from celery.worker.consumer import Consumer

# In seconds: the first pause between two tries, what each next one adds, and the longest.
_FIRST_PAUSE, _LONGER_BY, _LONGEST_PAUSE = 0.5, 0.5, 2.0

log = logging.getLogger(__name__)


def _surviving(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Return Celery's event loop, which an unreadable message ends like a lost connection.

    kombu parses what it takes from Redis outside of anything that catches the error, so that one
    message that is no JSON would end the worker. By then it is out of the queue.
    """

    def run(*args: Any) -> Any:
        try:
            return loop(*args)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            log.exception("Dropped a message that cannot be read; connecting to Redis anew")
            # What Celery says of the other messages that it drops: this one was taken, too.
            signals.task_rejected.send(sender=None, message=None, exc=error)
            raise ConnectionResetError("a message could not be read") from error

    return run


class PatientConsumer(Consumer):
    """Tries to reach the broker every two seconds at least, without end."""

    # Set by Celery's part of the class that is called Tasks; None while not connected.
    task_consumer: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        # Workers need to know nothing of each other, since what they share is in PostgreSQL. To
        # ask around at the start (mingle) takes a second, and a worker told to stop in it crashes.
        super().__init__(*args, **{**options, "without_mingle": True, "without_gossip": True})
        self.loop: Callable[..., Any] = _surviving(self.loop)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Leave the old connection without putting the messages of running tasks back.

        kombu would try so on a connection that is lost, and then write them to a file in the
        temporary folder, at each outage another one. The tasks are in PostgreSQL.
        """
        if self.task_consumer is not None:
            self.task_consumer.channel.qos.restore_at_shutdown = False
        super().on_connection_error_after_connected(exc)

    def ensure_connected(self, conn: Any) -> Any:
        """Return the connection once it stands; a shutdown asked for meanwhile still happens."""

        def say(error: Exception, pause: float) -> None:
            log.error("Redis does not answer, trying again in %g s: %s", pause, error)

        conn = conn.ensure_connection(
            say,
            max_retries=None,
            interval_start=_FIRST_PAUSE,
            interval_step=_LONGER_BY,
            interval_max=_LONGEST_PAUSE,
            callback=state.maybe_shutdown,
        )
        self.first_connection_attempt = False
        self.broker_connection_retry_attempt = 0
        return conn
