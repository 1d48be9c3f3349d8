"""What `celery -A tests.faults.worker_app` finds: a worker that keeps the ledger of API tasks too.

So that a task that a client posts to the real API is seen from outside like those of the tests' own
types. Its work takes one of some lengths, by its id, since clients cannot say how long it takes.
"""

import os
import time
from dataclasses import replace
from pathlib import Path

from app.handlers import TaskContext, registry
from tests.ledger import Ledger
from tests.worker_app import celery, task_types

__all__ = ["celery", "task_types"]

# In seconds; from TEST_LENGTHS, separated by blanks.
_LENGTHS = [float(length) for length in os.environ.get("TEST_LENGTHS", "0").split()]


def _keep_ledger(name: str) -> None:
    """Let the handler of a type write to the ledger around its work."""
    real = registry.get(name)
    assert real is not None

    def handler(payload: object, context: TaskContext) -> object:
        with Ledger(Path(os.environ["TEST_LEDGER"])).attempt(context.task_id, context.attempt):
            time.sleep(_LENGTHS[context.task_id % len(_LENGTHS)])
            return real.handler(payload, context)

    registry._types[name] = replace(real, handler=handler)


_keep_ledger("simulated_work")
