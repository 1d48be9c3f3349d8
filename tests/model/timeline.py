"""The status model replayed: what a task's row must say after the lines of its timeline.

Which lines may follow which is taken from `app.domain.transitions`; what each does to the counters
is written down here a second time, on purpose.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.domain import transitions
from app.domain.status import FINAL, Status
from app.domain.transitions import Transition
from tests.model.violation import require

CRASH_LIMIT = 2

_BY_NAME: dict[str, list[Transition]] = {}
for _transition in transitions.ALL:
    _BY_NAME.setdefault(_transition.name, []).append(_transition)

# Ends of a running attempt that an accepted cancel forbids.
_NOT_AFTER_CANCEL = {
    "completed",
    "failed",
    "retry_scheduled",
    "released",
    "rescued",
    "crash_limit_reached",
}
# The lines that end an attempt because its worker is gone.
RESCUES = {"rescued", "crash_limit_reached"}
# As what an attempt is recorded that ends with this line.
_OUTCOMES = {
    "completed": "COMPLETED",
    "failed": "FAILED",
    "retry_scheduled": "FAILED",
    "released": "RELEASED",
    "cancelled": "CANCELLED",
    "rescued": "LOST",
    "crash_limit_reached": "LOST",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a timeline."""

    name: str
    status: str
    attempt: int
    detail: str | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the timeline says about the task."""

    status: str
    attempt: int
    max_attempts: int
    failures: int = 0
    crashes: int = 0
    cancel_requested: bool = False
    # The attempts that are over, by number, and as what each is recorded.
    ended: tuple[tuple[int, str], ...] = ()


def replay(timeline: Sequence[Event], max_attempts: int) -> Replayed:
    """Return what the lines add up to. Raises Violation at the first that may not stand there."""
    require(timeline, "a task has a timeline")
    first = timeline[0]
    require(
        (first.name, first.status, first.attempt) == (transitions.CREATED, Status.NEW, 0),
        "a timeline begins with the creation",
        first,
    )
    state = Replayed(first.status, first.attempt, max_attempts)
    for event in timeline[1:]:
        state = follow(state, event)
    return state


def follow(state: Replayed, event: Event) -> Replayed:
    """Return the state after one more line. Raises Violation if it may not follow."""
    require(_is_legal(state, event), "a status changes as the model says", state, event)
    require(
        not (state.cancel_requested and event.name in _NOT_AFTER_CANCEL),
        "an accepted cancel ends CANCELLED",
        state,
        event,
    )
    after = replace(state, status=event.status)
    match event.name:
        case "claimed":
            after = replace(after, attempt=state.attempt + 1)
        case "failed":
            after = replace(after, failures=state.failures + 1)
        case "retry_scheduled":
            require(
                state.attempt < state.max_attempts, "a retry needs an attempt that is left", state
            )
            after = replace(after, failures=state.failures + 1)
        case "released":
            after = replace(after, max_attempts=state.max_attempts + 1)
        case "rescued":
            require(state.crashes + 1 < CRASH_LIMIT, "crashes end at their limit", state)
            after = replace(after, max_attempts=state.max_attempts + 1, crashes=state.crashes + 1)
        case "crash_limit_reached":
            require(
                state.crashes + 1 >= CRASH_LIMIT, "crashes end at their limit, not before", state
            )
            after = replace(after, crashes=state.crashes + 1)
        case "cancelled" | "cancel_requested":
            after = replace(after, cancel_requested=True)
        case "retried":
            room = max(state.max_attempts, state.attempt + 1)
            after = replace(after, max_attempts=room, crashes=0, cancel_requested=False)
    if state.status == Status.IN_PROGRESS != after.status:
        outcome = (state.attempt, _OUTCOMES[event.name])
        after = replace(after, ended=(*state.ended, outcome))
    require(event.attempt == after.attempt, "a line names its attempt", event, after)
    require(after.attempt <= after.max_attempts, "attempts are counted", after)
    return after


def _is_legal(state: Replayed, event: Event) -> bool:
    if state.status in FINAL and event.name != "retried":
        return False
    return any(
        state.status in transition.sources and event.status == (transition.target or state.status)
        for transition in _BY_NAME.get(event.name, [])
    )
