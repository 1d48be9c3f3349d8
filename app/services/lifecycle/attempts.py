"""One attempt at a task, as its worker writes it down: claim, renew, settle.

How an attempt ends is a value; `settle` turns it into the one transition that fits, or finds that
the attempt was no longer this worker's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, assert_never

from app.db import attempts as store
from app.db import history
from app.db.engine import Connection, Database
from app.domain import transitions
from app.domain.history import AttemptOutcome, LogLine
from app.domain.retry import Backoff
from app.domain.task import ClaimedTask


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned a result, any JSON value, and said this last."""

    result: Any
    progress_note: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, or ran too long. `permanent` says that trying again would not help.

    `after_seconds` is how long the next attempt is to wait at least, in seconds.
    """

    error: str
    permanent: bool
    traceback: str | None = None
    after_seconds: float = 0.0
    timed_out: bool = False


def ran_too_long(limit_seconds: float) -> Failed:
    """Return how an attempt ended that ran longer than it may."""
    reason = f"The attempt ran longer than the {limit_seconds:g} s that it may."
    return Failed(reason, permanent=False, timed_out=True)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The handler was stopped: the task was cancelled or deleted, or its lease was lost."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The worker shuts down and the handler had not finished."""


Outcome = Completed | Failed | Stopped | Interrupted


class Settled(Enum):
    """What became of the task."""

    COMPLETED = auto()
    FAILED = auto()
    RETRY_SCHEDULED = auto()
    RELEASED = auto()
    CANCELLED = auto()
    # Deleted, or rescued and now somebody else's: nothing was written.
    LOST = auto()


def settle(
    database: Database,
    task: ClaimedTask,
    outcome: Outcome,
    backoff: Backoff,
    lines: Sequence[LogLine] = (),
) -> Settled:
    """Write an attempt's outcome and the last lines of its log, unless it has lost the right to.

    An outcome that comes after an accepted cancel ends the task as CANCELLED.

    Raises:
        DatabaseUnavailable: nothing is known to be written; calling again is safe.
    """
    # Lines come with the end or not at all. Without any, each of the two statements that may be
    # needed stands for itself.
    with database.transaction() if lines else database.statement() as connection:
        if lines:
            history.add_lines(connection, task, lines)
        settled = _settle_as(connection, task, outcome, backoff)
        if settled is not None:
            return settled
        if store.cancel_running(connection, task):
            return Settled.CANCELLED
        return Settled.LOST


def _settle_as(
    connection: Connection, task: ClaimedTask, outcome: Outcome, backoff: Backoff
) -> Settled | None:
    """Try the transition that the outcome asks for; None when its guard refused."""
    match outcome:
        case Completed(result, note):
            return Settled.COMPLETED if store.complete(connection, task, result, note) else None
        case Failed():
            failure = _failure(outcome)
            if outcome.permanent or task.attempt >= task.max_attempts:
                return Settled.FAILED if store.fail(connection, task, failure) else None
            pause = max(backoff.pause_seconds(task.failures + 1), outcome.after_seconds)
            scheduled = store.schedule_retry(connection, task, failure, pause)
            return Settled.RETRY_SCHEDULED if scheduled else None
        case Interrupted():
            return Settled.RELEASED if store.release(connection, task) else None
        case Stopped():
            return None
        case _:
            assert_never(outcome)


def _failure(failed: Failed) -> store.Failure:
    how = AttemptOutcome.TIMED_OUT if failed.timed_out else AttemptOutcome.FAILED
    return store.Failure(failed.error, failed.traceback, how)


def what_became_of(database: Database, task: ClaimedTask) -> Settled:
    """Return what an attempt was settled as, if the answer to that was lost; LOST if it was not.

    The task itself no longer says so once it has been run again.

    Raises DatabaseUnavailable.
    """
    with database.statement() as connection:
        ended = history.ending_of(connection, task.id, task.attempt)
    return _ENDINGS.get(ended, Settled.LOST)


_ENDINGS: dict[str | None, Settled] = {
    transitions.COMPLETED.name: Settled.COMPLETED,
    transitions.FAILED.name: Settled.FAILED,
    transitions.RETRY_SCHEDULED.name: Settled.RETRY_SCHEDULED,
    transitions.RELEASED.name: Settled.RELEASED,
    transitions.CANCELLED_RUNNING.name: Settled.CANCELLED,
}
