"""Publishes messages from an event loop, where `Publisher`, which waits in its thread, must not.

Promises what that promises: nothing beyond its return value.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import redis.asyncio
import redis.exceptions
from celery import Celery

from app.broker.configuration import API_REDIS_TIMEOUT_SECONDS
from app.broker.messages import MessageWriter
from app.broker.outage import Outage
from app.domain.task import TaskMessage
from app.settings import Settings

_TROUBLE = (redis.exceptions.RedisError, OSError, TimeoutError)
# Connecting, sending and the answer each have a time-out; this is for all of them, in seconds.
_LONGEST_SECONDS = 5 * API_REDIS_TIMEOUT_SECONDS


class LoopPublisher:
    """One API process's way to the queues."""

    def __init__(self, celery: Celery, settings: Settings) -> None:
        self._writer = MessageWriter(celery)
        self._outage = Outage()
        # Celery's documentation writes CERT_NONE where redis-py says "none".
        url = re.sub(
            r"(ssl_cert_reqs=)CERT_(\w+)",
            lambda found: found[1] + found[2].lower(),
            settings.redis_url,
        )
        self._client: Any = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=API_REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=API_REDIS_TIMEOUT_SECONDS,
            socket_keepalive=True,
            health_check_interval=10,
            # One try: whoever publishes has the task table to fall back on.
            retry=None,
            retry_on_error=[],
            max_connections=2,
        )

    async def publish(self, messages: Sequence[TaskMessage]) -> bool:
        """Publish messages, those of one queue in their order; return whether all were accepted.

        A broker in trouble may have accepted some; it makes lines in the log and no exception.
        """
        try:
            async with (
                asyncio.timeout(_LONGEST_SECONDS),
                self._client.pipeline(transaction=False) as pipeline,
            ):
                self._writer.fill(pipeline, messages)
                await pipeline.execute()
        except _TROUBLE as error:
            self._outage.note(len(messages), error)
            if isinstance(error, redis.exceptions.ReadOnlyError):
                # Another server has taken over from this one, which a new connection may find.
                await self._client.connection_pool.disconnect()
            return False
        self._outage.end()
        return True

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
