"""What a worker does at Celery's turning points: logging, refusing unfit pools, noting crashes."""

import logging
import sys
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import signals

from app import garbage, logs
from app.domain.priority import QueueName
from app.handlers import registry
from app.settings import get_settings
from app.worker.maintenance import crashed_tasks
from app.worker.run_task import executor

log = logging.getLogger(__name__)

# A task is stopped by a signal to the main thread of its process, so each needs one to itself.
_USABLE_POOLS = {"prefork", "processes", "solo"}


def connect() -> None:
    """Connect the receivers below; Celery would forget those that nothing else refers to."""
    for signal, receiver in (
        (signals.setup_logging, _set_up_logging),
        (signals.celeryd_init, _check_pool),
        (signals.celeryd_after_setup, _consume_overdue),
        (signals.worker_process_init, _prepare_process),
        (signals.task_failure, _note_crash),
    ):
        signal.connect(receiver, weak=False)


def _set_up_logging(**details: Any) -> None:
    """Take over logging from Celery, whose command line sets the level with --loglevel."""
    level = details.get("loglevel")
    logs.configure(get_settings())
    if isinstance(level, int) and level:
        logging.getLogger().setLevel(level)


def _check_pool(options: dict[str, Any] | None = None, **details: Any) -> None:
    registry.load()
    pool = (options or {}).get("pool")
    name = pool if isinstance(pool, str) else getattr(pool, "__module__", "prefork").split(".")[-1]
    if name not in _USABLE_POOLS:
        sys.exit(f"This worker stops tasks by signals and needs --pool=prefork, not {name}.")


def _consume_overdue(instance: Any = None, **details: Any) -> None:
    """Let every worker ask the queue of overdue tasks first, whatever its -Q says.

    A worker started for some queues only would otherwise leave a task waiting that was raised
    from one of them.
    """
    queues = instance.app.amqp.queues
    queues.select([QueueName.OVERDUE.value, *queues.consume_from])


def _prepare_process(**details: Any) -> None:
    """Make what runs tasks before the first one comes, so that it does not wait for that."""
    executor()
    garbage.spare_what_is_there()


def _note_crash(task_id: str = "", exception: Any = None, **details: Any) -> None:
    """Note that a task's process died, so that its rescue need not await the lease's end.

    Celery says so in the main process, whose maintenance thread reads the note.
    """
    if isinstance(exception, WorkerLostError | TimeLimitExceeded) and task_id.isdecimal():
        crashed_tasks.put(int(task_id))
