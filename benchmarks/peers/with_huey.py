"""huey over Redis; not durable. Its `enqueue` blocks, which costs less than a thread's help."""

import os

from huey import RedisHuey

from benchmarks.peers.route import application

huey = RedisHuey("bench", url=os.environ["REDIS_URL"], results=False)


@huey.task()
def noop() -> None:
    """Do nothing."""


async def _enqueue() -> None:
    noop()


app = application(_enqueue)
