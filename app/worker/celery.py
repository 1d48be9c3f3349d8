"""What `celery -A app.worker.celery` finds: the worker's and Flower's Celery object.

Owns the order in which a worker process is put together; each part says what it does.
"""

import importlib
import os

import billiard.common

# TERM, which orchestrators send, stops a worker as QUIT does, softly and within a bound; by default
# it waits for running tasks without limit (Celery's documentation, "Workers Guide",
# "REMAP_SIGTERM"). Celery's command line has read the variable before it comes here, so that it is
# read once more, ahead of the modules that act on it.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
importlib.reload(billiard.common)
# Flower may show, not steer: a task revoked there would still be PENDING in the database.
os.environ.setdefault("FLOWER_READ_ONLY", "True")
os.environ.setdefault(
    "FLOWER_TASKS_COLUMNS", "name,uuid,state,args,result,received,started,runtime,worker"
)

from app.broker.celery import create_celery
from app.settings import get_settings
from app.worker.maintenance import MaintenanceStep
from app.worker.run_task import register
from app.worker.signals import connect

celery = create_celery(get_settings(), publisher_only=False)
celery.conf.worker_consumer = "app.worker.consumer:PatientConsumer"
celery.steps["worker"].add(MaintenanceStep)
register(celery)
connect()
