"""Runs one attempt at a task: claim, call the handler under its lease, settle.

Knows nothing of Celery. Whatever happens in between, an attempt that was claimed is settled,
handed back, or left to the rescue that its lapsed lease will bring.
"""

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from app.db import attempts as store
from app.db import history, tasks
from app.db import set_aside as unknown
from app.db.engine import Database
from app.domain.history import LogLine
from app.domain.priority import QueueName
from app.domain.result import storable_result
from app.domain.retry import Backoff
from app.domain.status import Status
from app.domain.task import ClaimedTask, Task, idempotency_token
from app.domain.text import one_line, shortened
from app.errors import Unavailable
from app.handlers import AttemptStopped, PermanentError, RetryLater, TaskContext, registry
from app.handlers.lines import LogLines
from app.handlers.registry import TaskType
from app.services.health import WORKER_SILENCE_SECONDS
from app.services.lifecycle.attempts import (
    Completed,
    Failed,
    Interrupted,
    Outcome,
    Settled,
    settle,
    what_became_of,
)
from app.services.terms import terms_of
from app.settings import Settings
from app.worker.interruption import Run
from app.worker.lease import LeaseKeeper, outcome_of_stop

# How long, and how often, a database that does not answer is asked again, in seconds. Past that
# the message is dropped: the maintenance loop publishes it again once the database is back.
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
_ERROR_LIMIT = 2000
# What stands above a handler in every traceback.
_OUR_FRAMES = {"app.worker.executor", "app.worker.interruption", "app.handlers.registry"}

T_co = TypeVar("T_co", covariant=True)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Execution:
    """What an attempt came to."""

    task: ClaimedTask
    outcome: Outcome
    settled: Settled


class Executor:
    """Runs attempts in this process, one after another."""

    def __init__(
        self,
        database: Database,
        keeper: LeaseKeeper,
        settings: Settings,
        is_shutting_down: Callable[[], bool],
    ) -> None:
        self._database = database
        self._keeper = keeper
        self._settings = settings
        self._is_shutting_down = is_shutting_down
        # What the attempt has logged that runs now, or ran last.
        self._lines: LogLines | None = None

    def execute(self, task_id: int, queue: QueueName, worker: str) -> Execution | None:
        """Run the task's next attempt, or return None when there is nothing to run.

        Raises:
            SystemExit: the worker shuts down; the attempt has been handed back.
        """
        try:
            self._lines = None
            claim = self._claim(task_id, queue, worker)
            if claim is None:
                if self._leave_to_others(task_id, queue):
                    return None
                log.info("task %d: nothing to run for its message in queue %s", task_id, queue)
                return None
            return self._attempt(*claim)
        except SystemExit:
            self._hand_back(task_id, worker)
            raise

    def _claim(
        self, task_id: int, queue: QueueName, worker: str
    ) -> tuple[ClaimedTask, float] | None:
        """Claim a task; return it with the time, by time.monotonic(), from which its lease runs."""
        lease = self._settings.lease_seconds

        def ask(*, again: bool) -> tuple[ClaimedTask, float] | None:
            claimed_at = time.monotonic()
            with self._database.statement() as connection:
                task = store.claim(connection, task_id, queue, worker, lease, registry.names())
                if task is None and again:
                    # An earlier try may have been carried out, and only its answer lost.
                    task = store.resume(connection, task_id, worker, lease)
            return (task, claimed_at) if task else None

        return _patiently(ask, "claim", task_id)

    def _leave_to_others(self, task_id: int, queue: QueueName) -> bool:
        """Return whether the task is of a type that this worker does not know.

        It then waits for one that does, or has waited for that in vain and is FAILED.
        """
        known = registry.names()

        def ask(*, again: bool) -> Task | None:
            with self._database.statement() as connection:
                patience, silent = self._settings.unknown_type_seconds, WORKER_SILENCE_SECONDS
                return unknown.fail_unknown(
                    connection, task_id, known, patience, silent
                ) or unknown.set_aside(connection, task_id, queue, known, silent)

        task = _patiently(ask, "set aside", task_id)
        if task is None:
            return False
        log.warning(
            "task %d: this worker does not know its type %s; it is %s now",
            task.id,
            task.type,
            task.status,
        )
        return True

    def _attempt(self, task: ClaimedTask, claimed_at: float) -> Execution:
        log.info("task %d: attempt %d of %s begins", task.id, task.attempt, task.type)
        task_type = registry.get(task.type)
        assert task_type is not None, task.type
        context = TaskContext(task.id, task.attempt, task.failures, idempotency_token(task))
        self._lines = context.lines
        terms = terms_of(task, self._settings)
        run = Run(task, context, terms)
        outcome = self._run(run, task_type, claimed_at)
        self._store_lines(task, context.lines)
        settled = self._settle(task, outcome, terms.backoff, context.lines.waiting())
        log.info(
            "task %d: attempt %d ends after %.3f s: %s",
            task.id,
            task.attempt,
            time.monotonic() - claimed_at,
            settled.name,
        )
        return Execution(task, outcome, settled)

    def _run(self, run: Run, task_type: TaskType, claimed_at: float) -> Outcome:
        """Call the handler and return how that ended."""
        try:
            with self._keeper.watching(run, claimed_at):
                outcome = run.call(lambda: self._call(run, task_type))
        except AttemptStopped:
            return outcome_of_stop(run)
        # It returned or raised all the same, from work that it had not done.
        return outcome_of_stop(run) if run.is_interrupted else outcome

    def _call(self, run: Run, task_type: TaskType) -> Outcome:
        """Call the handler, and make of what it returns or raises what can be stored.

        All of that is the handler's: a result may be endless as text, and an exception's own text
        may take for ever.
        """
        task, context = run.task, run.context
        try:
            result = task_type.run(task.payload, context)
        except AttemptStopped:
            raise
        except BaseException as error:
            # Whatever the handler raises is its failure, a sys.exit() and an interrupt of its own
            # included; but not what the end of this process made it raise.
            if self._is_shutting_down():
                raise SystemExit from error
            return self._failed(task, error)
        try:
            kept = storable_result(result, self._settings.max_result_bytes)
        except Exception as error:
            # The work is done; doing it again would bring the same result.
            log.warning("task %d: attempt %d: %s", task.id, task.attempt, error)
            return Failed(one_line(str(error), _ERROR_LIMIT), permanent=True)
        return Completed(kept, context.progress_note)

    def _failed(self, task: ClaimedTask, error: BaseException) -> Failed:
        log.warning("task %d: attempt %d failed", task.id, task.attempt, exc_info=error)
        name = type(error).__name__
        try:
            text = f"{name}: {error}" if str(error) else name
        except Exception:
            # Even an exception's own text may raise.
            text = name
        return Failed(
            one_line(text, _ERROR_LIMIT),
            permanent=isinstance(error, PermanentError),
            traceback=_traceback(error, self._settings.max_traceback_characters),
            after_seconds=error.after_seconds if isinstance(error, RetryLater) else 0.0,
        )

    def _store_lines(self, task: ClaimedTask, lines: LogLines) -> None:
        """Store all lines but the last piece of them, which goes with the settlement."""

        def store_piece(*, again: bool) -> None:
            piece = lines.waiting()
            with self._database.statement() as connection:
                history.add_lines(connection, task, piece)
            lines.stored(piece)

        try:
            while lines.has_more_than_a_piece():
                _patiently(store_piece, "store lines", task.id)
        except Exception:
            log.exception("task %d: its log lines cannot be stored", task.id)

    def _settle(
        self, task: ClaimedTask, outcome: Outcome, backoff: Backoff, lines: Sequence[LogLine]
    ) -> Settled:
        def write(ending: Outcome, lines: Sequence[LogLine]) -> Settled:
            def ask(*, again: bool) -> Settled:
                settled = settle(self._database, task, ending, backoff, lines)
                if settled is Settled.LOST and again:
                    # An earlier try may have been carried out, and only its answer lost.
                    return what_became_of(self._database, task)
                return settled

            return _patiently(ask, "settle", task.id) or Settled.LOST

        try:
            return write(outcome, lines)
        except Exception as error:
            # Not one of the database being away: it refuses this very outcome.
            log.error("task %d: its outcome cannot be stored: %s", task.id, error)
            reason = one_line(f"The outcome could not be stored: {error}", _ERROR_LIMIT)
            # Nor the lines, which may be what it refuses.
            return write(Failed(reason, permanent=True), ())

    def _hand_back(self, task_id: int, worker: str) -> None:
        """Put the task back in line, if this process has it. There is time for one try."""
        try:
            with self._database.statement() as connection:
                task = tasks.get(connection, task_id)
            if task is None or (task.status, task.worker) != (Status.IN_PROGRESS, worker):
                return
            lines = self._lines.waiting() if self._lines else ()
            settled = settle(self._database, task, Interrupted(), Backoff(), lines)
            log.info("task %d: the worker shuts down: %s", task.id, settled.name)
        except Unavailable as error:
            log.error("task %d: could not be handed back, a rescue will: %s", task_id, error)


def _traceback(error: BaseException, limit: int) -> str | None:
    """Return where in the handler an error was raised, without our own frames above it."""
    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_globals.get("__name__") in _OUR_FRAMES:
            frames = frames.tb_next
        lines = traceback.format_exception(type(error), error, frames or error.__traceback__)
        return shortened("".join(lines), limit)
    except Exception:
        # Even an exception's own text may raise.
        return None


class _Step(Protocol[T_co]):
    """Something asked of the database; `again` when an earlier try may have been carried out."""

    def __call__(self, *, again: bool) -> T_co: ...


def _patiently(step: _Step[T_co], name: str, task_id: int) -> T_co | None:
    """Do a step, again and again while the database does not answer; None when it stays away."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    again = False
    while True:
        try:
            return step(again=again)
        except Unavailable as error:
            if time.monotonic() >= deadline:
                log.error("task %d: gave up to %s: %s", task_id, name, error)
                return None
            log.warning("task %d: cannot %s yet: %s", task_id, name, error)
            again = True
            time.sleep(_PAUSE_SECONDS)
