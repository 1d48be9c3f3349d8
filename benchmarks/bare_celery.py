"""Celery alone, with our configuration and its own consumer: a task that does nothing."""

import os
import time

import redis
from celery import Celery

from app.broker.configuration import configuration
from app.settings import get_settings

DONE_AT = "bench:done_at"

celery = Celery("bare")
celery.conf.update(configuration(get_settings(), publisher_only=False))
celery.conf.worker_hijack_root_logger = True


@celery.task(name="bare.noop", ignore_result=True)
def noop() -> None:
    """Do nothing."""


@celery.task(name="bare.stamp", ignore_result=True)
def stamp() -> None:
    """Note when this was run."""
    redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=5).lpush(DONE_AT, time.time())
