"""What keeps tasks moving: the dispatcher beside the API, and the steps of a maintenance round.

The steps are taken one by one and by two processes at a time: a leader that froze and goes on is
no longer kept out by the advisory lock.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from app.db.engine import Database
from app.services.lifecycle import maintenance
from app.services.lifecycle.dispatch import dispatch
from app.services.lifecycle.lost_messages import LostMessages
from tests.model.broker import Broker
from tests.model.operations import Ended, Operation, Returned
from tests.model.violation import require
from tests.model.world import PATIENCE, World

_RESCUES = frozenset({"rescued", "crash_limit_reached", "cancelled"})
_EVERYTHING = _RESCUES | {"promoted", "message_lost", "dispatched"}


def dispatch_offers(world: World) -> Operation:
    """Publish and record what the API has offered."""
    batch, world.offers = world.offers, ()

    def call(database: Database, broker: Broker) -> int:
        return dispatch(database, broker, batch)

    return Operation(
        f"dispatch {[(m.task_id, m.queue.value) for m in batch]}",
        call,
        _no_error,
        writes=frozenset({"dispatched"}),
    )


def _step(
    name: str, step: Callable[[Database, Broker], object], writes: frozenset[str]
) -> Operation:
    return Operation(name, step, _no_error, writes=writes)


def _no_error(ended: Ended) -> None:
    require(isinstance(ended, Returned), "upkeep meets no error", ended)


def rescue_lapsed(world: World) -> Operation:
    """Bring back what has lost its lease."""
    return _step(
        "rescue the lapsed",
        lambda database, broker: maintenance.rescue_lapsed(database, world.settings),
        _RESCUES,
    )


def rescue_from(world: World, identity: str) -> Operation:
    """Bring back what a dead process ran."""
    return _step(
        f"rescue from {identity}",
        lambda database, broker: maintenance.rescue_from(database, identity, world.settings),
        _RESCUES,
    )


def promote(world: World) -> Operation:
    """Raise what has waited long."""
    return _step(
        "promote",
        lambda database, broker: maintenance.promote_patient(database, world.settings),
        frozenset({"promoted"}),
    )


def _finder() -> LostMessages:
    """Return one that trusts its first look, since what is between two looks is time alone."""
    return LostMessages(margin_seconds=PATIENCE, handover_seconds=0)


def find_lost(world: World) -> Operation:
    """Mark for publishing whatever has lost its message."""

    def finish(ended: Ended) -> None:
        # It could not compare with a broker that is down.
        require(isinstance(ended, Returned) or not world.broker.up, "upkeep meets no error", ended)

    return Operation(
        "find lost messages",
        lambda database, broker: _finder().mark(database, broker, datetime.now(UTC)),
        finish,
        writes=frozenset({"message_lost"}),
    )


def dispatch_due(world: World) -> Operation:
    """Publish what is due and in no queue."""
    return _step(
        "dispatch the due",
        maintenance.dispatch_due,
        frozenset({"dispatched"}),
    )


def whole_round(world: World) -> Operation:
    """Do a round of maintenance as a worker does it."""

    def finish(ended: Ended) -> None:
        require(ended == Returned(True), "a round is done", ended)

    return Operation(
        "a round of maintenance",
        lambda database, broker: maintenance.run_round(database, broker, world.settings, _finder()),
        finish,
        writes=_EVERYTHING,
    )


STEPS = (rescue_lapsed, promote, find_lost, dispatch_due)
