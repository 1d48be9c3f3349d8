"""Where one task can stand when two operations meet, each reached by whole operations."""

from collections.abc import Callable

from app.domain.priority import Priority
from app.services.lifecycle.attempts import Completed, Failed
from tests.model import clients, faults, upkeep, work
from tests.model.broker import older
from tests.model.invariants import result_of
from tests.model.world import A_LONG_WHILE, A_WHILE, World

FIRST, SECOND = "worker1", "worker2"


def offered(world: World) -> None:
    """Stored as NEW; its message is still to be published."""
    world.run(clients.create(world, Priority.MEDIUM, 2))


def published_unrecorded(world: World) -> None:
    """In its queue, twice, while the record of that is still missing."""
    offered(world)
    world.broker.publish(world.offers * 2)


def dispatched(world: World) -> None:
    """In its queue, twice."""
    offered(world)
    world.run(upkeep.dispatch_offers(world))
    world.broker.double(0)


def waits_long(world: World) -> None:
    """In its queue for so long that it is to be raised, its first message lost."""
    dispatched(world)
    world.pass_time(A_LONG_WHILE)
    # As if they had been published just now.
    world.broker.messages = older(world.broker.messages, -A_LONG_WHILE)


def message_lost(world: World) -> None:
    """In the most urgent queue as far as the table knows, but its message was lost a while ago."""
    world.run(clients.create(world, Priority.HIGH, 2))
    world.run(upkeep.dispatch_offers(world))
    world.pass_time(A_WHILE)
    world.broker.messages = ()


def running(world: World) -> None:
    """Run by the first worker; two doubles of its message are left."""
    dispatched(world)
    world.broker.double(0)
    world.run(work.claim(world, FIRST, world.broker.take(0)))


def on_its_last_attempt(world: World) -> None:
    """Run by the first worker, for the last time."""
    due_again(world)
    world.run(upkeep.dispatch_due(world))
    world.run(work.claim(world, FIRST, world.broker.take(0)))


def being_cancelled(world: World) -> None:
    """Run by the first worker, which has heard of the cancel."""
    running(world)
    world.run(clients.cancel(world, world.ids[-1]))
    world.run(work.renew(world, FIRST))


def lapsed(world: World) -> None:
    """Run by the first worker, which was frozen for longer than its lease and goes on now."""
    running(world)
    faults.lapse(world, world.ids[-1])
    faults.thaw(world)


def lapsed_for_the_last_time(world: World) -> None:
    """Its lease has lapsed, and one more crash is one too many."""
    running(world)
    world.crew.bury(FIRST)
    world.lapse(world.ids[-1])
    world.run(upkeep.rescue_lapsed(world))
    world.run(upkeep.dispatch_due(world))
    world.run(work.claim(world, FIRST, world.broker.take(0)))
    faults.lapse(world, world.ids[-1])
    faults.thaw(world)


def lapsed_while_cancelled(world: World) -> None:
    """Its cancel was accepted, and its lease has lapsed."""
    running(world)
    world.run(clients.cancel(world, world.ids[-1]))
    faults.lapse(world, world.ids[-1])
    faults.thaw(world)


def orphaned(world: World) -> None:
    """Its worker's process is known to be dead."""
    running(world)
    world.crew.bury(FIRST)


def taken_over(world: World) -> None:
    """Run by the second worker, while the first one, whose lease lapsed, believes it runs it."""
    lapsed(world)
    world.run(upkeep.rescue_lapsed(world))
    world.run(upkeep.dispatch_due(world))
    world.run(work.claim(world, SECOND, world.broker.take(0)))


def due_again(world: World) -> None:
    """Its first attempt failed, and it is time for the next; no message says so yet."""
    running(world)
    world.run(work.settle(world, FIRST, Failed("broken", permanent=False)))
    world.pass_time(A_WHILE)


def completed(world: World) -> None:
    """Over; doubles of its message are left."""
    running(world)
    world.run(work.settle(world, FIRST, Completed(result_of(world.ids[-1], 1))))


def failed(world: World) -> None:
    """Over, and not well; doubles of its message are left."""
    running(world)
    world.run(work.settle(world, FIRST, Failed("broken for good", permanent=True)))


def run_again(world: World) -> None:
    """In its queue again by a person's wish, while the first worker believes that it runs it.

    That one was frozen for longer than its lease; the task was cancelled meanwhile.
    """
    lapsed_while_cancelled(world)
    world.run(upkeep.rescue_lapsed(world))
    world.run(clients.run_again(world, world.ids[-1]))
    world.run(upkeep.dispatch_offers(world))


def set_aside(world: World) -> None:
    """In its queue, for as long as it is given time for a worker that knows its type."""
    dispatched(world)
    world.run(work.leave_to_others(world, FIRST, world.broker.take(0)))
    world.pass_time(A_LONG_WHILE)
    world.run(upkeep.dispatch_due(world))


def cancelled(world: World) -> None:
    """Cancelled while it waited; its messages are left."""
    dispatched(world)
    world.run(clients.cancel(world, world.ids[-1]))


SITUATIONS: dict[str, Callable[[World], None]] = {
    function.__name__: function
    for function in (
        offered,
        published_unrecorded,
        dispatched,
        waits_long,
        message_lost,
        running,
        on_its_last_attempt,
        being_cancelled,
        lapsed,
        lapsed_for_the_last_time,
        lapsed_while_cancelled,
        orphaned,
        taken_over,
        due_again,
        completed,
        failed,
        cancelled,
        run_again,
        set_aside,
    )
}
