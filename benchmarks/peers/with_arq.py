"""arq over Redis; not durable."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arq import ArqRedis, create_pool
from arq.connections import RedisSettings
from fastapi import FastAPI

from benchmarks.peers.route import application

_open: list[ArqRedis] = []


@asynccontextmanager
async def _connected(app: FastAPI) -> AsyncIterator[None]:
    _open.append(await create_pool(RedisSettings.from_dsn(os.environ["REDIS_URL"])))
    yield
    await _open[0].aclose()


async def _enqueue() -> None:
    await _open[0].enqueue_job("noop")


app = application(_enqueue, _connected)
