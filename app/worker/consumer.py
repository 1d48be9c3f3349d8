"""Celery's consumer, but back at work soon after Redis is, however long that took.

Celery waits up to 30 seconds between two tries to connect, and `ensure_connected` is the only
place where that can be changed.
"""

import contextlib
import logging
import re
import time
import warnings
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.exceptions import CPendingDeprecationWarning
from celery.worker import state
from celery.worker.consumer import Consumer

from app.domain.text import one_line
from app.worker import events

# In seconds: the first pause between two tries, what each next one adds, and the longest.
_FIRST_PAUSE, _LONGER_BY, _LONGEST_PAUSE = 0.5, 0.5, 1.0

# Characters of the reason in the line about a message that is dropped.
_REASON_LIMIT = 300

log = logging.getLogger(__name__)

# At each lost connection Celery advertises a setting that we have set (app.broker.configuration).
warnings.filterwarnings("ignore", category=CPendingDeprecationWarning, module=re.escape(__name__))


class UnreadableMessage(ConnectionResetError):
    """A message could not be taken apart; what was half done with it ends with the connection."""


def _surviving(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Return Celery's event loop, which an unreadable message ends like a lost connection.

    kombu parses what it takes from Redis outside of anything that catches the error, so that one
    message that is no JSON would end the worker. By then it is out of the queue.
    """

    def run(*args: Any) -> Any:
        try:
            return loop(*args)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            _say_dropped(error)
            log.debug("Where that message failed", exc_info=True)
            # What Celery says of the other messages that it drops: this one was taken, too.
            signals.task_rejected.send(sender=None, message=None, exc=error)
            raise UnreadableMessage from error

    return run


def _say_dropped(reason: Exception) -> None:
    log.warning("Dropped a message that cannot be read: %s", one_line(repr(reason), _REASON_LIMIT))


def _says_what_to_run(body: Any) -> bool:
    """Return whether a message's body has the shape of Celery's protocol, version 2."""
    match body:
        case [list(), dict(), dict() | None]:
            return True
    return False


class PatientConsumer(Consumer):
    """Tries to reach the broker every second at least, without end."""

    # Set by Celery's part of the class that is called Tasks; None while not connected.
    task_consumer: Any
    connection: Any
    pool: Any
    connection_errors: Any
    channel_errors: Any
    event_dispatcher: Any
    hub: Any
    _flush_events: Callable[[], None]
    _restart_state: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        # Workers need to know nothing of each other, since what they share is in PostgreSQL. To
        # ask around at the start (mingle) takes a second, and a worker told to stop in it crashes.
        super().__init__(*args, **{**options, "without_mingle": True, "without_gossip": True})
        self.loop: Callable[..., Any] = self._within_slots(_surviving(self.loop))
        self._events_due_at = 0.0

    def _within_slots(self, loop: Callable[..., Any]) -> Callable[..., Any]:
        """Return a loop that takes no more messages than there are free slots.

        A new connection knows nothing of what was taken from the one before, and would take as
        many messages again, which then wait in here ahead of more urgent ones in Redis.
        """

        def run(*args: Any) -> Any:
            qos = self.task_consumer.channel.qos
            may_take = qos.can_consume

            def can_consume() -> bool:
                # What runs stays in there when a connection is lost.
                held = len(state.reserved_requests)
                return held < self.pool.num_processes and bool(may_take())

            qos.can_consume = can_consume
            return loop(*args)

        return run

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Leave the old connection without putting the messages of running tasks back.

        kombu would try so on a connection that is lost, and then write them to a file in the
        temporary folder, at each outage another one. The tasks are in PostgreSQL.
        """
        if self.task_consumer is not None:
            self.task_consumer.channel.qos.restore_at_shutdown = False
        if isinstance(exc, UnreadableMessage):
            # It has been said; Celery would call it a lost connection, with a traceback.
            with contextlib.suppress(Exception):
                self.connection.collect()
            # Nor is it one of the quick restarts after which Celery would pause.
            self._restart_state.R = 0
            return
        super().on_connection_error_after_connected(exc)
        if isinstance(exc, self.channel_errors):
            # It answers, so that the next connection is made at once, and refused as this one.
            log.error("Redis refuses, trying again in %g s: %s", _LONGEST_PAUSE, exc)
            time.sleep(_LONGEST_PAUSE)

    def on_send_event_buffered(self) -> Any:
        """Send the events that wait a moment from now; Celery would after this turn of its loop."""
        now = time.monotonic()
        # Not a mark that something is due: when a connection fails Celery may cancel the timer.
        if now >= self._events_due_at:
            self._events_due_at = now + events.PAUSE_SECONDS
            self.hub.call_later(events.PAUSE_SECONDS, self._flush_events)

    def shutdown(self) -> None:
        """Send the last events, which Celery forgets, before it closes their connection."""
        if self.event_dispatcher:
            # Not those that could not be sent before: at a shutdown one time-out is enough.
            self.event_dispatcher.flush(errors=False)
        super().shutdown()

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        """Return Celery's handler of messages, behind a look at the body.

        A process of the pool would otherwise stumble over it, where nothing says so in one line.
        """
        handle: Callable[[Any], None] = super().create_task_handler(*args, **options)

        def on_task_received(message: Any) -> None:
            try:
                is_ours = _says_what_to_run(message.payload)
            except Exception as error:
                self.on_decode_error(message, error)
                return
            if is_ours:
                handle(message)
            else:
                self._drop(message, ValueError("its body names no arguments"))

        return on_task_received

    # What Celery does with these is to log them over dozens of lines.
    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Drop what names no Celery task."""
        self._drop(message, ValueError("it names no Celery task"))

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Drop what names another Celery task than ours."""
        self._drop(message, ValueError(f"no Celery task {message.headers['task']!r}"))

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """Drop what has a header that Celery does not understand."""
        self._drop(message, exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop what is not written as it says, or in a way that is not accepted."""
        self._drop(message, exc)

    def _drop(self, message: Any, reason: Exception) -> None:
        _say_dropped(reason)
        message.reject_log_error(log, self.connection_errors)
        signals.task_rejected.send(sender=self, message=message, exc=reason)

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
