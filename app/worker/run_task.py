"""The one Celery task: it takes a message's hint, runs the attempt, and tells Celery how it went.

What it tells is for Flower and Celery's events only; the truth is in PostgreSQL by then.
"""

import logging
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any, assert_never

import billiard.common
from celery import Celery
from celery.exceptions import Ignore, Retry, Terminated

from app.broker.configuration import RUN_TASK
from app.db.engine import Database
from app.domain.priority import QueueName
from app.services.lifecycle.attempts import Completed, Failed, Settled
from app.settings import get_settings
from app.worker import interruption
from app.worker.executor import Execution, Executor
from app.worker.lease import LeaseKeeper

# The largest id that the task table can hold.
_LARGEST_ID = 2**63 - 1
_QUEUES = frozenset(QueueName)
# Says whether this process was told to end; newer than the type stubs of billiard.
_SHUTTING_DOWN = "terminate_handler_fired"

log = logging.getLogger(__name__)


class AttemptFailed(Exception):
    """Tells Celery that the task FAILED, with the reason."""


def register(celery: Celery) -> None:
    """Make the Celery task known under its name."""
    celery.task(
        name=RUN_TASK,
        bind=True,
        Request="app.worker.request:Request",
        # Expected endings; anything else is logged by Celery as an error of the worker itself.
        throws=(AttemptFailed, Terminated),
    )(run_task)


def run_task(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Run the next attempt of the task whose id is the message's only argument."""
    task_id, queue = _read(self.request, args, kwargs)
    # The forked process is named too: a rescue asks whether it is still alive.
    worker = f"{self.request.hostname}/{os.getpid()}"
    execution = executor().execute(task_id, queue, worker)
    if execution is None:
        raise Ignore
    return _tell(execution)


def _read(request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, QueueName]:
    """Return what a message says; one that names no task is dropped with a line in the log."""
    queue = (request.delivery_info or {}).get("routing_key")
    match args:
        # To Python, True is a number too.
        case (int(task_id),) if task_id is not True and not kwargs and queue in _QUEUES:
            if 0 < task_id <= _LARGEST_ID:
                return task_id, QueueName(queue)
    log.warning("Dropped a message that names no task: args %.200r, kwargs %.200r", args, kwargs)
    raise Ignore


def _tell(execution: Execution) -> Any:
    """Return or raise what makes Celery's events say how the attempt ended."""
    match execution.settled:
        case Settled.COMPLETED:
            return execution.outcome.result if isinstance(execution.outcome, Completed) else None
        case Settled.FAILED:
            raise AttemptFailed(_error(execution))
        case Settled.RETRY_SCHEDULED:
            raise Retry(exc=AttemptFailed(_error(execution)))
        case Settled.CANCELLED:
            raise Terminated("cancelled")
        case Settled.LOST:
            raise Terminated("deleted, or taken over by another worker")
        case Settled.RELEASED:
            raise Ignore
        case _:
            assert_never(execution.settled)


def _error(execution: Execution) -> str:
    return execution.outcome.error if isinstance(execution.outcome, Failed) else ""


def executor() -> Executor:
    """Return this process's executor, made at its first task: nothing of it survives a fork."""
    return _executor(os.getpid())


@lru_cache(maxsize=1)
def _executor(pid: int) -> Executor:
    settings = get_settings()
    # A heartbeat that hangs must leave time for others before the lease ends.
    heartbeat_timeout = min(settings.database_timeout_seconds, settings.lease_seconds / 5)
    keeper = LeaseKeeper(
        Database(
            settings,
            pool_size=1,
            application_name="task-manager lease",
            timeout_seconds=heartbeat_timeout,
        ),
        settings,
    )
    interruption.install()
    database = Database(settings, pool_size=1, application_name="task-manager worker")
    is_shutting_down: Callable[[], bool] = getattr(billiard.common, _SHUTTING_DOWN)
    return Executor(database, keeper, settings, is_shutting_down)
