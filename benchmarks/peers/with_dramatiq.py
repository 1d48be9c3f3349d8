"""dramatiq over Redis; not durable. Its `send` blocks, which costs less than a thread's help."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.route import application

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor
def noop() -> None:
    """Do nothing."""


async def _enqueue() -> None:
    noop.send()


app = application(_enqueue)
