"""How far a task has come before the interleaving begins, by whole operations."""

from enum import Enum, auto

from app.domain.priority import Priority
from app.services.lifecycle.attempts import Failed
from tests.model import clients, faults, upkeep, work
from tests.model.world import A_WHILE, World


class Beginning(Enum):
    """Where a task stands at first. One that runs needs a worker that is free for it."""

    OFFERED = auto()
    # In its queue, twice, and so are all that follow.
    DISPATCHED = auto()
    RUNNING = auto()
    CANCEL_REQUESTED = auto()
    # Its first attempt failed, and it is time for the next one, which nobody has published yet.
    DUE_AGAIN = auto()
    # Its worker was frozen for longer than its lease, and goes on now.
    LAPSED = auto()
    # The same, but it was rescued and is in its queue again.
    RESCUED = auto()
    # The same, and another worker runs it already, if there is one that is free.
    TAKEN_OVER = auto()
    # Its worker was frozen for longer than its lease, it was cancelled, and is to run again.
    RUN_AGAIN = auto()


def tell(world: World, priority: Priority, max_attempts: int, beginning: Beginning) -> None:
    """Create a task and bring it to its beginning, or as far as that is possible."""
    world.run(clients.create(world, priority, max_attempts))
    task_id = world.ids[-1]
    if beginning is Beginning.OFFERED:
        return
    world.run(upkeep.dispatch_offers(world))
    world.broker.double(len(world.broker.messages) - 1)
    first = None if beginning is Beginning.DISPATCHED else _claim(world, task_id)
    if first is None:
        return
    match beginning:
        case Beginning.CANCEL_REQUESTED:
            world.run(clients.cancel(world, task_id))
        case Beginning.DUE_AGAIN:
            world.run(work.settle(world, first, Failed("broken", permanent=False)))
            world.pass_time(A_WHILE)
        case Beginning.LAPSED | Beginning.RESCUED | Beginning.TAKEN_OVER | Beginning.RUN_AGAIN:
            faults.lapse(world, task_id)
            faults.thaw(world)
    if beginning in {Beginning.RESCUED, Beginning.TAKEN_OVER}:
        world.run(upkeep.rescue_lapsed(world))
        world.run(upkeep.dispatch_due(world))
    if beginning is Beginning.RUN_AGAIN:
        world.run(clients.cancel(world, task_id))
        world.run(upkeep.rescue_lapsed(world))
        world.run(clients.run_again(world, task_id))
    if beginning is Beginning.TAKEN_OVER:
        _claim(world, task_id)


def _claim(world: World, task_id: int) -> str | None:
    """Let a worker that is free claim a task by a message about it, and return who it was."""
    free = [worker.name for worker in world.crew.workers.values() if worker.belief is None]
    found = [i for i, message in enumerate(world.broker.messages) if message.task_id == task_id]
    if not free or not found:
        return None
    world.run(work.claim(world, free[0], world.broker.take(found[0])))
    return free[0]
