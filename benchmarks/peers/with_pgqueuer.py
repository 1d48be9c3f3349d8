"""pgqueuer: tasks are rows in PostgreSQL; durable. Its worker claims in batches."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI
from pgqueuer import AsyncpgDriver, AsyncpgPoolDriver, PgQueuer, Queries

from benchmarks.peers.route import application

_URL = os.environ["DATABASE_URL"]
_open: list[Queries] = []


@asynccontextmanager
async def _connected(app: FastAPI) -> AsyncIterator[None]:
    # As many connections as requests come at once.
    async with asyncpg.create_pool(_URL, min_size=4, max_size=16) as pool:
        _open.append(Queries(AsyncpgPoolDriver(pool)))
        yield


async def _enqueue() -> None:
    await _open[0].enqueue("noop", None)


app = application(_enqueue, _connected)


async def _work(connection: asyncpg.Connection) -> None:
    # Its command line does this too, but the current one fails over its own --log-level.
    manager = PgQueuer(AsyncpgDriver(connection))

    @manager.entrypoint("noop")
    async def noop(job: object) -> None:
        """Do nothing."""

    await manager.run()


async def _errand(what: str, count: int) -> None:
    connection = await asyncpg.connect(_URL)
    queries = Queries(AsyncpgDriver(connection))
    if what == "prepare":
        await queries.install()
    elif what == "work":
        await _work(connection)
    else:
        for begin in range(0, count, 500):
            size = min(500, count - begin)
            await queries.enqueue(["noop"] * size, [None] * size, [0] * size)
    await connection.close()


if __name__ == "__main__":
    asyncio.run(_errand(sys.argv[1], int(sys.argv[2])))
