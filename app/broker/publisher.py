"""Publishes messages about tasks, and asks Redis what waits there.

Promises nothing beyond its return values: a message is a hint, and a hint may be lost or doubled.
Every wait is bounded by the time-outs of the Celery object's configuration.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import kombu.exceptions
import redis.exceptions
from celery import Celery

from app.broker.messages import MessageWriter, dispatched_at
from app.broker.outage import Outage
from app.domain.priority import QueueName
from app.domain.task import TaskMessage
from app.errors import BrokerUnavailable

# LimitExceeded, for a pool with no free connection, is a KombuError too.
_TROUBLE = (kombu.exceptions.KombuError, redis.exceptions.RedisError, OSError)

# Beside the queues in the same Redis database, and lost together with them.
_MARK = "task-manager:remembers"

# Never made by anybody.
_NO_LIST = "task-manager:nothing"


@contextmanager
def _leaving_replicas(client: Any) -> Iterator[None]:
    """Close the connections to a server that takes no writes any more.

    Another one has taken over from it, which new connections may find; redis-py would keep these.
    """
    try:
        yield
    except redis.exceptions.ReadOnlyError:
        client.connection_pool.disconnect()
        raise


class Publisher:
    """One process's way to the queues."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._writer = MessageWriter(celery)
        self._outage = Outage()

    def publish(self, messages: Sequence[TaskMessage]) -> bool:
        """Publish messages, those of one queue in their order; return whether all were accepted.

        A broker in trouble may have accepted some; it makes lines in the log and no exception.
        """
        if not messages:
            return True
        try:
            with self._celery.producer_pool.acquire(block=True, timeout=1) as producer:
                self._push(producer, messages)
        except _TROUBLE as error:
            self._outage.note(len(messages), error)
            return False
        self._outage.end()
        return True

    def _push(self, producer: Any, messages: Sequence[TaskMessage]) -> None:
        """Put messages into their queues in one round trip."""
        with (
            producer.channel.conn_or_acquire() as client,
            _leaving_replicas(client),
            client.pipeline(transaction=False) as pipeline,
        ):
            self._writer.fill(pipeline, messages)
            pipeline.execute()

    def oldest_messages_at(self) -> dict[QueueName, datetime | None]:
        """Return when the oldest message in each queue was dispatched, None for an empty queue.

        Raises:
            BrokerUnavailable: Redis does not answer.
        """
        with self._redis() as client, client.pipeline(transaction=False) as pipeline:
            for queue in QueueName:
                pipeline.lindex(queue.value, -1)
            messages = pipeline.execute()
        return {
            queue: None if message is None else dispatched_at(message)
            for queue, message in zip(QueueName, messages, strict=True)
        }

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
        """Pass when Redis answers and would take a message.

        Raises:
            BrokerUnavailable: it does not, or has no memory or no permission for it.
        """
        with self._redis() as client:
            # Refused wherever a message would be, and without effect on a list that is not there.
            client.lpushx(_NO_LIST, "")

    @contextmanager
    def _redis(self) -> Iterator[Any]:
        try:
            # Celery's stubs take the pool of connections for one of producers.
            pool: Any = self._celery.pool
            with pool.acquire(block=True, timeout=1) as connection:
                client = connection.default_channel.client
                with _leaving_replicas(client):
                    yield client
        except _TROUBLE as error:
            raise BrokerUnavailable(f"Redis does not answer: {error}") from error
