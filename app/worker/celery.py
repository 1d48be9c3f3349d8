"""What `celery -A app.worker.celery` finds: the worker's and Flower's Celery object.

Owns the order in which a worker process is put together; each part says what it does.
"""

import os
import sys
from pathlib import Path

# TERM, which orchestrators send, then stops a worker as QUIT does, softly and within a bound; by
# default it waits for running tasks without limit (Celery's documentation, "Workers Guide",
# "REMAP_SIGTERM").
_REMAP = "REMAP_SIGTERM"
_COMMAND_LINES = {"celery", "__main__.py"}
if _REMAP not in os.environ:
    os.environ[_REMAP] = "SIGQUIT"
    if Path(sys.argv[0]).name in _COMMAND_LINES and "worker" in sys.argv:
        # Celery's command line has read the variable before it comes here, into constants of
        # several modules. Only a new start of the same command, in the same process, makes all of
        # them agree. The container image sets the variable, which saves that.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own
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
from app.worker.watch import WatchStep

celery = create_celery(get_settings(), publisher_only=False)
celery.conf.worker_consumer = "app.worker.consumer:PatientConsumer"
celery.conf.worker_pool = "app.worker.prefork:TaskPool"
celery.events.dispatcher_cls = "app.worker.events:BatchingDispatcher"
celery.steps["worker"] |= {MaintenanceStep, WatchStep}
register(celery)
connect()
