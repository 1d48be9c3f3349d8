"""taskiq over a Redis list; not durable."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from taskiq_redis import ListQueueBroker

from benchmarks.peers.route import application

broker = ListQueueBroker(os.environ["REDIS_URL"])


@broker.task
async def noop() -> None:
    """Do nothing."""


@asynccontextmanager
async def _connected(app: FastAPI) -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


app = application(noop.kiq, _connected)
