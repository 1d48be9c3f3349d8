"""What `celery -A tests.worker_app` finds: the service's worker, with the tests' types too."""

from app.worker.celery import celery
from tests import task_types

__all__ = ["celery", "task_types"]
