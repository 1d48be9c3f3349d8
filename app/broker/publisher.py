"""Publishes messages about tasks, and asks Redis what waits there.

Promises nothing beyond its return values: a message is a hint, and a hint may be lost or doubled.
Every wait is bounded by the time-outs of the Celery object's configuration.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import kombu.exceptions
import redis.exceptions
from celery import Celery

from app.broker.configuration import RUN_TASK
from app.domain.priority import QueueName
from app.domain.task import TaskMessage
from app.errors import BrokerUnavailable

# The header that carries a message's place in time; maintenance compares it with the rows.
DISPATCHED_AT = "dispatched_at"

# LimitExceeded, for a pool with no free connection, is a KombuError too.
_TROUBLE = (kombu.exceptions.KombuError, redis.exceptions.RedisError, OSError)

log = logging.getLogger(__name__)


class Publisher:
    """One process's way to the queues."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery

    def publish(self, messages: Sequence[TaskMessage]) -> int:
        """Publish the messages in order and return how many were accepted, from the first on.

        A broker in trouble ends it early, with a line in the log and no exception.
        """
        published = 0
        try:
            with self._celery.producer_pool.acquire(block=True, timeout=1) as producer:
                for message in messages:
                    self._send(message, producer)
                    published += 1
        except _TROUBLE as error:
            log.warning(
                "Published %d of %d messages; the others wait in the database: %s",
                published,
                len(messages),
                error,
            )
        return published

    def _send(self, message: TaskMessage, producer: Any) -> None:
        self._celery.send_task(
            # The name in the event "task-sent", for monitors; the header below says what runs.
            message.type,
            args=[message.task_id],
            queue=message.queue.value,
            # The same id for each attempt: Celery's own retries do that too, and monitors
            # show one task as one line.
            task_id=str(message.task_id),
            # What monitors show: the handler as name, the id and the title as arguments.
            shadow=message.type,
            argsrepr=f"({message.task_id}, {message.title!r})",
            kwargsrepr="{}",
            ignore_result=True,
            headers={"task": RUN_TASK, DISPATCHED_AT: message.dispatched_at.isoformat()},
            producer=producer,
        )

    def oldest_message_at(self, queue: QueueName) -> datetime | None:
        """Return when the oldest message in a queue was dispatched, or None for an empty queue.

        A message that is not ours, or broken, counts as just as old as time itself: what lies
        behind it cannot be judged before a worker has taken it away.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        with self._redis() as client:
            # kombu pushes on the left and pops on the right.
            message = client.lindex(queue.value, -1)
        if message is None:
            return None
        try:
            dispatched_at = datetime.fromisoformat(json.loads(message)["headers"][DISPATCHED_AT])
            # One without a zone could not be compared.
            return dispatched_at if dispatched_at.tzinfo else _BEGINNING
        except (ValueError, KeyError, TypeError, RecursionError):
            return _BEGINNING

    def has_forgotten(self) -> bool:
        """Return, once, whether Redis has lost everything since this was last asked by anybody.

        A key of ours then is missing, as it is at the very first time.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        with self._redis() as client:
            return bool(client.set(_MARK, "", nx=True))

    def queue_lengths(self) -> dict[QueueName, int]:
        """Return how many messages wait in each queue.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        with self._redis() as client:
            return {queue: int(client.llen(queue.value)) for queue in QueueName}

    def ping(self) -> None:
        """Pass when Redis answers.

        Raises:
            BrokerUnavailable: it does not.
        """
        with self._redis() as client:
            client.ping()

    @contextmanager
    def _redis(self) -> Iterator[Any]:
        try:
            # Celery's stubs take the pool of connections for one of producers.
            pool: Any = self._celery.pool
            with pool.acquire(block=True, timeout=1) as connection:
                yield connection.default_channel.client
        except _TROUBLE as error:
            raise BrokerUnavailable(f"Redis does not answer: {error}") from error


# Beside the queues in the same Redis database, and lost together with them.
_MARK = "task-manager:remembers"
_BEGINNING = datetime.fromisoformat("0001-01-01T00:00:00+00:00")
