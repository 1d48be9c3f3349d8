"""What of a world with one task decides how it can go on; states that agree in it count as one.

It forgets ids, numbers of attempts and exact times, and counts messages up to two.
"""

from collections.abc import Hashable
from datetime import datetime

from app.domain.status import FINAL, Status
from app.domain.task import TaskMessage
from tests.model.invariants import UNKNOWN_TYPE
from tests.model.snapshot import Row
from tests.model.world import MAX_WAIT, PATIENCE, World


def is_over(world: World) -> bool:
    """Return whether nothing more becomes of the task unless a person asks for it."""
    row = world.seen.get(world.ids[-1])
    return row is None or row.status in FINAL


def _is_over(row: Row | None) -> bool:
    return row is None or row.status == Status.COMPLETED


def abstract(world: World, now: datetime) -> Hashable:
    """Return what is kept of the world, seen at this time of the database."""
    row = world.seen.get(world.ids[-1])
    return (
        _abstract_row(world, row),
        _abstract_messages(world.broker.messages, row, now),
        _abstract_messages(world.offers, row, now),
        # Which of the workers it is makes no difference.
        tuple(sorted(_abstract_belief(world, name, row) for name in world.crew.workers)),
    )


def _abstract_messages(
    messages: tuple[TaskMessage, ...], row: Row | None, now: datetime
) -> Hashable:
    """Return how many messages there are where the task waits, how old the first, and others."""
    if row is None or _is_over(row):
        return bool(messages)
    # One that is run again waits in its priority's own queue.
    queue = row.priority.lower() if row.status in FINAL else row.queue
    ages = [(now - m.dispatched_at).total_seconds() for m in messages if m.queue == queue]
    return min(len(ages), 2), _age(ages[0] if ages else None), len(ages) < len(messages)


def _abstract_row(world: World, row: Row | None) -> Hashable:
    if row is None:
        return "gone"
    if _is_over(row):
        return row.status
    left = row.max_attempts - row.attempt
    if row.status in FINAL:
        return (row.status, row.priority, max(left, 1))
    common = (row.status, row.priority, row.queue, left, row.crashes)
    if row.status == Status.IN_PROGRESS:
        return (*common, row.cancel_requested, row.lapsed, row.worker in world.crew.gone)
    # With each quarter of the longest wait it may be raised further.
    quarters = min(int(row.due_since // (MAX_WAIT / 4)), 3) if row.due_since >= 0 else -1
    patience = "none" if row.set_aside_for is None else row.set_aside_for > UNKNOWN_TYPE
    return (*common, quarters, _age(row.dispatched_since), patience)


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return "old" if seconds > PATIENCE else "fresh"


def _abstract_belief(world: World, name: str, row: Row | None) -> tuple[str, bool]:
    belief = world.crew[name].belief
    if belief is None:
        return ("none", False)
    current = row is not None and (row.status, row.attempt) == (
        Status.IN_PROGRESS,
        belief.task.attempt,
    )
    # Whoever speaks about an attempt that is over says nothing, whatever it knows.
    return ("current", belief.knows_cancel) if current else ("over", False)
