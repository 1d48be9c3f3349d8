"""Runs one attempt at a task: claim, call the handler under its lease, settle.

Knows nothing of Celery. Whatever happens in between, an attempt that was claimed is settled,
handed back, or left to the rescue that its lapsed lease will bring.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from app.db import attempts as store
from app.db.engine import Database
from app.domain.priority import QueueName
from app.domain.result import storable_result
from app.domain.retry import Backoff
from app.domain.task import Task
from app.domain.text import one_line
from app.errors import Unavailable
from app.handlers import PermanentError, TaskContext, registry
from app.handlers.registry import TaskType
from app.services.lifecycle.attempts import (
    Completed,
    Failed,
    Interrupted,
    Outcome,
    Settled,
    settle,
)
from app.settings import Settings
from app.worker.interruption import AttemptStopped, Run
from app.worker.lease import LeaseKeeper, outcome_of_stop

# How long, and how often, a database that does not answer is asked again, in seconds. Past that
# the message is dropped: the maintenance loop publishes it again once the database is back.
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
_ERROR_LIMIT = 2000

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Execution:
    """What an attempt came to."""

    task: Task
    outcome: Outcome
    settled: Settled


class Executor:
    """Runs attempts in this process, one after another."""

    def __init__(self, database: Database, keeper: LeaseKeeper, settings: Settings) -> None:
        self._database = database
        self._keeper = keeper
        self._settings = settings

    def execute(self, task_id: int, queue: QueueName, worker: str) -> Execution | None:
        """Run the task's next attempt, or return None when there is nothing to run.

        Raises:
            SystemExit: the worker shuts down; the attempt has been handed back.
        """
        claimed_at = time.monotonic()
        task = _patiently(lambda: self._claim(task_id, queue, worker), "claim", task_id)
        if task is None:
            log.info("task %d: nothing to run for its message in queue %s", task_id, queue)
            return None
        log.info("task %d: attempt %d of %s begins", task.id, task.attempt, task.type)
        task_type = registry.get(task.type)
        backoff = task_type.backoff if task_type else Backoff()
        try:
            outcome = self._run(task, task_type, backoff, claimed_at)
            settled = _patiently(
                lambda: settle(self._database, task, outcome, backoff), "settle", task_id
            )
        except SystemExit:
            self._hand_back(task)
            raise
        settled = settled or Settled.LOST
        log.info(
            "task %d: attempt %d ends after %.3f s: %s",
            task.id,
            task.attempt,
            time.monotonic() - claimed_at,
            settled.name,
        )
        return Execution(task, outcome, settled)

    def _claim(self, task_id: int, queue: QueueName, worker: str) -> Task | None:
        with self._database.transaction() as connection:
            return store.claim(connection, task_id, queue, worker, self._settings.lease_seconds)

    def _run(
        self, task: Task, task_type: TaskType | None, backoff: Backoff, claimed_at: float
    ) -> Outcome:
        """Call the handler and return how that ended."""
        if task_type is None:
            return Failed(f"This worker knows no task type {task.type!r}.", permanent=True)
        context = TaskContext(task.id, task.attempt, task.failures)
        run = Run(task, context, backoff)
        try:
            with self._keeper.watching(run, claimed_at):
                result = run.call(lambda: task_type.run(task.payload, context))
            return Completed(storable_result(result), context.progress_note)
        except AttemptStopped:
            return outcome_of_stop(run, self._settings)
        except PermanentError as error:
            return _failed(task, error, permanent=True)
        except Exception as error:
            return _failed(task, error, permanent=False)

    def _hand_back(self, task: Task) -> None:
        """Put the task back in line, if it is still this attempt's. There is time for one try."""
        try:
            settled = settle(self._database, task, Interrupted(), Backoff())
            log.info("task %d: the worker shuts down: %s", task.id, settled.name)
        except Unavailable as error:
            log.error("task %d: could not be handed back, a rescue will: %s", task.id, error)


def _failed(task: Task, error: Exception, *, permanent: bool) -> Failed:
    log.warning("task %d: attempt %d failed", task.id, task.attempt, exc_info=error)
    text = str(error)
    name = type(error).__name__
    return Failed(one_line(f"{name}: {text}" if text else name, _ERROR_LIMIT), permanent)


def _patiently(step: Callable[[], T], name: str, task_id: int) -> T | None:
    """Do a step, again and again while the database does not answer; None when it stays away."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return step()
        except Unavailable as error:
            if time.monotonic() >= deadline:
                log.error("task %d: gave up to %s: %s", task_id, name, error)
                return None
            log.warning("task %d: cannot %s yet: %s", task_id, name, error)
            time.sleep(_PAUSE_SECONDS)
