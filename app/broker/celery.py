"""The Celery object of a process: one per process, since kombu's connection pools are global."""

from celery import Celery

from app.broker import transport
from app.broker.configuration import configuration
from app.settings import Settings


def create_celery(settings: Settings, *, publisher_only: bool) -> Celery:
    """Return a Celery object for an API process (`publisher_only`), or for a worker and Flower."""
    transport.install()
    celery = Celery("task_manager", set_as_current=not publisher_only)
    celery.conf.update(configuration(settings, publisher_only=publisher_only))
    return celery
