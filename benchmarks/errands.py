"""`python -m benchmarks.errands dispatch|publish|time|claim N`, with a contestant's settings."""

import os
import random
import statistics
import sys
import time

import redis

from app.broker.celery import create_celery
from app.broker.publisher import Publisher
from app.db import attempts, creation
from app.db.engine import Database
from app.domain.priority import Priority, QueueName
from app.domain.task import NewTask, TaskMessage
from app.services.lifecycle.dispatch import dispatch
from app.settings import Settings, get_settings

_AT_ONCE = 500
# How many tasks are claimed, of how many where there are few.
_CLAIMS, _SMALL = 700, 1000


def store_and_dispatch(count: int) -> None:
    """Store tasks that do nothing, and publish them."""
    settings = get_settings()
    database = Database(settings, pool_size=1, application_name="bench")
    publisher = Publisher(create_celery(settings, publisher_only=True))
    new = NewTask("Monthly report", "The figures", Priority.MEDIUM, "noop", {}, 1)
    for begin in range(0, count, _AT_ONCE):
        with database.statement() as connection:
            tasks = creation.insert_tasks(connection, [new] * min(_AT_ONCE, count - begin))
        dispatch(
            database,
            publisher,
            [TaskMessage(t.id, t.queue, t.type, t.title, t.updated_at) for t in tasks],
        )


def publish(count: int) -> None:
    """Publish Celery tasks that do nothing."""
    from benchmarks.bare_celery import noop

    for _ in range(count):
        noop.apply_async(queue="medium")


def time_one_by_one(count: int) -> float:
    """Return the median milliseconds from before a publish to the run of what was published."""
    from benchmarks.bare_celery import DONE_AT, stamp

    client = redis.Redis.from_url(get_settings().redis_url, socket_timeout=15)
    times = []
    for _ in range(count):
        began = time.time()
        stamp.apply_async(queue="medium")
        _, done_at = client.brpop(DONE_AT, 10)
        times.append(float(done_at) - began)
    return statistics.median(times) * 1000


def claim(count: int) -> tuple[float, float]:
    """Return the median milliseconds of a claim, its commit included, of so many waiting tasks.

    And of as few as there are in the database that SMALL_DATABASE_URL names: one here, one there,
    so that the machine is as quick for both.
    """
    settings = get_settings()
    small = Settings(database_url=os.environ["SMALL_DATABASE_URL"])
    places = []
    for of_place, tasks in ((settings, count), (small, _SMALL)):
        database = Database(of_place, pool_size=1, application_name="bench")
        places.append((database, random.sample(range(1, tasks + 1), _CLAIMS), []))
    for turn in range(_CLAIMS):
        for database, ids, times in places:
            times.append(_time_of_claim(database, ids[turn]))
    # The first ones find no plan and no page in its place.
    large, few = (statistics.median(times[200:]) * 1000 for _, _, times in places)
    return large, few


def _time_of_claim(database: Database, task_id: int) -> float:
    began = time.perf_counter()
    with database.statement() as connection:
        task = attempts.claim(connection, task_id, QueueName.MEDIUM, "w/1", 600, ["noop"])
    taken = time.perf_counter() - began
    if task is None:
        raise ValueError(f"task {task_id} was not to be had")
    return taken


def main(what: str, count: int) -> None:
    """Run one errand."""
    if what == "dispatch":
        store_and_dispatch(count)
    elif what == "publish":
        publish(count)
    elif what == "claim":
        print(*claim(count))
    else:
        print(time_one_by_one(count))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
