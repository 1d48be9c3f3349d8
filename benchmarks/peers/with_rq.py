"""RQ over Redis; not durable. Its `enqueue` blocks, which costs less than a thread's help."""

import os

from redis import Redis
from rq import Queue

from benchmarks.peers.route import application

_queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"]))


def noop() -> None:
    """Do nothing."""


async def _enqueue() -> None:
    _queue.enqueue(noop)


app = application(_enqueue)
