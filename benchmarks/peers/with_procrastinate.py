"""procrastinate: tasks are rows in PostgreSQL; durable."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from procrastinate import App, PsycopgConnector

from benchmarks.peers.route import application

# As many connections as requests come at once.
queue = App(
    connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"], min_size=4, max_size=16)
)


@queue.task(name="noop")
async def noop() -> None:
    """Do nothing."""


@asynccontextmanager
async def _connected(app: FastAPI) -> AsyncIterator[None]:
    async with queue.open_async():
        yield


app = application(noop.defer_async, _connected)


async def _errand(what: str, count: int) -> None:
    async with queue.open_async():
        if what == "prepare":
            await queue.schema_manager.apply_schema_async()
        else:
            for begin in range(0, count, 500):
                await noop.batch_defer_async(*[{}] * min(500, count - begin))


if __name__ == "__main__":
    asyncio.run(_errand(sys.argv[1], int(sys.argv[2])))
