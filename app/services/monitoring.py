"""Brings the gauges up to date with the database and the broker, when somebody asks for them."""

import logging

from app import metrics
from app.broker.publisher import Publisher
from app.db import tasks, waiting, workers
from app.db.engine import Database
from app.domain.priority import QueueName
from app.domain.status import Status
from app.errors import Unavailable
from app.services.health import WORKER_SILENCE_SECONDS

log = logging.getLogger(__name__)


def refresh_gauges(database: Database, publisher: Publisher) -> None:
    """Set the gauges; one whose source is away reads NaN, which Prometheus shows as a gap."""
    try:
        with database.transaction() as connection:
            counts = tasks.counts_of_unfinished(connection)
            alive: float = workers.count_alive(connection, WORKER_SILENCE_SECONDS)
            oldest = waiting.oldest_waiting(connection)
        unknown = 0.0
    except Unavailable as error:
        log.warning("The task gauges are not up to date: %s", error)
        counts, alive, oldest, unknown = {}, float("nan"), None, float("nan")
    for status in (Status.NEW, Status.PENDING, Status.IN_PROGRESS):
        for queue in QueueName:
            value = counts.get((status, queue), unknown)
            metrics.TASKS_UNFINISHED.labels(status, queue).set(value)
    metrics.WORKERS_ALIVE.set(alive)
    metrics.OLDEST_WAITING_SECONDS.set(oldest.seconds if oldest else unknown)
    try:
        lengths: dict[QueueName, float] = {**publisher.queue_lengths()}
    except Unavailable as error:
        log.warning("The queue gauges are not up to date: %s", error)
        lengths = {}
    for queue in QueueName:
        metrics.QUEUE_MESSAGES.labels(queue).set(lengths.get(queue, float("nan")))
