"""Nothing is lost and nothing is stuck: once trouble ends, every task comes to its end."""

from app.services.lifecycle.attempts import Completed, Interrupted, Outcome, Stopped
from tests.model import upkeep, work
from tests.model.invariants import result_of
from tests.model.stage import Stage
from tests.model.violation import require
from tests.model.workers import Belief
from tests.model.world import A_LONG_WHILE, World

# Moves within which actors finish, and rounds within which every task must have ended: one to
# rescue or find it and to run it, and one more for a retry that failed before.
_MOST_MOVES, _MOST_ROUNDS = 500, 3


def finish_all(stage: Stage) -> None:
    """Let every actor finish what it has begun."""
    for _ in range(_MOST_MOVES):
        waiting = stage.under_way()
        if not waiting:
            break
        stage.step(waiting[0])
    require(not stage.under_way() and not stage.blocked(), "every operation ends")


def drain(world: World) -> None:
    """Go on without trouble until all is quiet. Raises Violation if that does not come."""
    world.broker.up = True
    for _ in range(_MOST_ROUNDS):
        for name in world.crew.workers:
            _work_off(world, name)
        if not list(world.unfinished()) and not world.broker.messages:
            return
        require(world.pass_time(A_LONG_WHILE), "nobody holds a lock at rest")
        for task_id in list(world.unfinished()):
            world.lapse(task_id)
        if world.offers:
            world.run(upkeep.dispatch_offers(world))
        world.run(upkeep.whole_round(world))
        _deliver(world)
    require(not list(world.unfinished()), "every task comes to its end", world.seen)


def _deliver(world: World) -> None:
    name = next(iter(world.crew.workers))
    while world.broker.messages:
        world.run(work.claim(world, name, world.broker.take(0)))
        _work_off(world, name)


def _work_off(world: World, name: str) -> None:
    """Let a worker end the attempt that it believes it runs, as an honest one does."""
    belief = world.crew[name].belief
    if belief is not None and belief.outcome is None:
        world.run(work.renew(world, name))
        belief = world.crew[name].belief
    if belief is not None:
        world.run(work.settle(world, name, _honest(belief)))


def _honest(belief: Belief) -> Outcome:
    if belief.outcome is not None:
        return belief.outcome
    if belief.knows_lost:
        return Interrupted()
    if belief.knows_cancel:
        return Stopped()
    return Completed(result_of(belief.task.id, belief.task.attempt))
