"""Every change of a task's status, by name: where it may start, where it ends, who may make it.

This is the whole status model. `app.db.transitions` turns an entry into one guarded UPDATE, and
nothing else in the service assigns a status. Promises nothing about who wins a race: that is
settled by PostgreSQL, one UPDATE at a time.
"""

from dataclasses import dataclass

from app.domain.status import WAITING, Status


@dataclass(frozen=True, slots=True)
class Transition:
    """A named, guarded change of a task.

    `target` is None where the status stays as it is. A `fenced` transition belongs to one attempt:
    it also compares the attempt's number, so that a worker which lost its task changes nothing.
    """

    name: str
    sources: frozenset[Status]
    target: Status | None
    fenced: bool = False

    @property
    def ends_attempt(self) -> bool:
        """Whether an attempt is over with it."""
        return self.sources == _RUNNING and self.target is not None


_RUNNING = frozenset({Status.IN_PROGRESS})

# --- made by whoever publishes: the API right after its commit, or the maintenance loop
# The task's message is in its queue.
DISPATCHED = Transition("dispatched", WAITING, Status.PENDING)

# --- made by people, through the API
# A new priority: the task must be published again, to another queue.
REPRIORITISED = Transition("reprioritised", WAITING, None)
# A new priority for the attempts after the one that runs.
REPRIORITISED_RUNNING = Transition("reprioritised", _RUNNING, None)
# Nobody had started it, so it is over at once.
CANCELLED_WAITING = Transition("cancelled", WAITING, Status.CANCELLED)
# The running attempt is asked to stop; from here on the task can only end CANCELLED.
CANCEL_REQUESTED = Transition("cancel_requested", _RUNNING, None)

# A person wants a task run again that had ended otherwise than well.
RETRIED = Transition("retried", frozenset({Status.FAILED, Status.CANCELLED}), Status.PENDING)

# --- made by a worker that is handed a task of a type it does not know
# It waits on, for a worker that knows the type: an older one meets it during a deployment.
SET_ASIDE = Transition("set_aside", WAITING, Status.PENDING)
# No such worker came within the time for that.
TYPE_UNKNOWN = Transition("type_unknown", WAITING, Status.FAILED)

# --- made by the worker that runs the task
# NEW is a legal start: a worker may be faster than the record that the message was published.
CLAIMED = Transition("claimed", WAITING, Status.IN_PROGRESS)
COMPLETED = Transition("completed", _RUNNING, Status.COMPLETED, fenced=True)
FAILED = Transition("failed", _RUNNING, Status.FAILED, fenced=True)
RETRY_SCHEDULED = Transition("retry_scheduled", _RUNNING, Status.PENDING, fenced=True)
# The worker shuts down and hands the task back unharmed.
RELEASED = Transition("released", _RUNNING, Status.PENDING, fenced=True)
CANCELLED_RUNNING = Transition("cancelled", _RUNNING, Status.CANCELLED, fenced=True)

# --- made by the maintenance loop
# The attempt's worker is gone: its lease lapsed, or its process was seen to be dead.
RESCUED = Transition("rescued", _RUNNING, Status.PENDING)
CRASH_LIMIT_REACHED = Transition("crash_limit_reached", _RUNNING, Status.FAILED)
RESCUE_CANCELLED = Transition("cancelled", _RUNNING, Status.CANCELLED)
# It waited so long that it moves up one queue.
PROMOTED = Transition("promoted", WAITING, None)
# Its message is gone from the broker, so that it must be published again.
MESSAGE_LOST = Transition("message_lost", frozenset({Status.PENDING}), None)

ALL = (
    DISPATCHED,
    REPRIORITISED,
    REPRIORITISED_RUNNING,
    CANCELLED_WAITING,
    CANCEL_REQUESTED,
    RETRIED,
    SET_ASIDE,
    TYPE_UNKNOWN,
    CLAIMED,
    COMPLETED,
    FAILED,
    RETRY_SCHEDULED,
    RELEASED,
    CANCELLED_RUNNING,
    RESCUED,
    CRASH_LIMIT_REACHED,
    RESCUE_CANCELLED,
    PROMOTED,
    MESSAGE_LOST,
)

# The first line of every timeline; not a transition, since there is no row to guard yet.
CREATED = "created"
