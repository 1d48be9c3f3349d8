"""Which of Celery's and kombu's parts a worker runs with ours in their place."""

import json
import os
import subprocess
import sys

from tests.servers import ROOT

_PARTS = """
import json
from celery.concurrency import get_implementation
from celery.utils.imports import symbol_by_name
from app.worker.celery import celery
parts = [
    symbol_by_name(celery.conf.worker_consumer),
    get_implementation(celery.conf.worker_pool),
    # What Celery makes of the class that it was told to use.
    celery.events.Dispatcher.__base__,
    celery.connection_for_read().get_transport_cls(),
    celery.connection_for_write().get_transport_cls(),
]
print(json.dumps([f"{part.__module__}:{part.__name__}" for part in parts]))
"""


def test_a_worker_is_put_together_of_our_parts() -> None:
    # In a process of its own: what a worker imports changes its process for good.
    done = subprocess.run(
        [sys.executable, "-c", _PARTS],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": "redis://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "app.worker.consumer:PatientConsumer",
        "app.worker.prefork:TaskPool",
        "app.worker.events:BatchingDispatcher",
        "app.broker.transport:Transport",
        "app.broker.transport:Transport",
    ]
