"""Everything that can happen to one task as a whole, from where the world stands."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.domain.priority import Priority
from app.domain.status import Status
from app.domain.task import TaskMessage
from app.services.lifecycle.attempts import Completed, Outcome, Stopped
from tests.model import clients, faults, upkeep, work
from tests.model.one_transaction import OneTransaction
from tests.model.operations import Operation
from tests.model.world import A_LONG_WHILE, World


@dataclass(frozen=True, slots=True)
class Move:
    """Something that happens. `fair` moves alone must bring every task to its end."""

    name: str
    make: Callable[[], object]
    fair: bool = False


def moves(world: World, database: OneTransaction) -> Iterator[Move]:
    """Yield what can happen next. The database is told to fail where a move needs that."""
    task_id = world.ids[-1]
    yield from _of_clients(world, task_id)
    yield from _of_messages(world)
    yield from _of_upkeep(world, task_id)
    yield from _of_troubled_upkeep(world, database)
    free = True
    for name, worker in world.crew.workers.items():
        if worker.belief is not None:
            yield from _of_running(world, name, database)
        elif free:
            # Workers without an attempt are all alike.
            free = False
            yield from _of_idle(world, name, database)
    yield Move("time passes", lambda: world.pass_time(A_LONG_WHILE), fair=True)


def _of_clients(world: World, task_id: int) -> Iterator[Move]:
    yield Move("cancel", lambda: world.run(clients.cancel(world, task_id)))
    yield Move("delete", lambda: world.run(clients.delete(world, task_id)))
    yield Move("run again", lambda: world.run(clients.run_again(world, task_id)))
    for priority in (Priority.MEDIUM, Priority.HIGH):
        yield Move(
            f"make it {priority}",
            lambda priority=priority: world.run(clients.update(world, task_id, priority)),
        )


def _of_messages(world: World) -> Iterator[Move]:
    if world.offers:
        yield Move("dispatch offers", lambda: world.run(upkeep.dispatch_offers(world)), fair=True)
        yield Move("the API loses its offers", lambda: setattr(world, "offers", ()))
    for index in distinct(world.broker.messages):
        yield Move(f"lose message {index}", lambda index=index: world.broker.take(index))
        yield Move(f"double message {index}", lambda index=index: world.broker.double(index))


def distinct(messages: tuple[TaskMessage, ...]) -> list[int]:
    """Return where messages are of which each says something else."""
    return [index for index, message in enumerate(messages) if message not in messages[:index]]


def _of_upkeep(world: World, task_id: int) -> Iterator[Move]:
    for step in upkeep.STEPS:
        yield Move(step.__name__, lambda step=step: world.run(step(world)), fair=True)
    row = world.seen.get(task_id)
    if row is None or row.status != Status.IN_PROGRESS:
        return
    owner = row.worker or ""
    if owner in world.crew.gone:
        yield Move("rescue_from", lambda: world.run(upkeep.rescue_from(world, owner)), fair=True)
    if not world.crew.is_watched(owner, task_id, row.attempt) and not row.lapsed:
        yield Move("the lease lapses", lambda: world.lapse(task_id), fair=True)


def _of_troubled_upkeep(world: World, database: OneTransaction) -> Iterator[Move]:
    def unrecorded(make: Callable[[World], Operation], transactions: int) -> None:
        database.left = transactions
        world.run(make(world), disturbed=True)
        database.left = None

    if world.offers:
        yield Move("publish offers, unrecorded", lambda: unrecorded(upkeep.dispatch_offers, 0))
    yield Move("dispatch_due, unrecorded", lambda: unrecorded(upkeep.dispatch_due, 1))


def _of_idle(world: World, name: str, database: OneTransaction) -> Iterator[Move]:
    for index in distinct(world.broker.messages):

        def claim(index: int = index) -> None:
            message = world.broker.take(index)
            world.run(work.claim(world, name, message), disturbed=database.loses_answer)

        def claim_asking_twice(claim: Callable[[], None] = claim) -> None:
            database.loses_answer = True
            claim()

        def leave(index: int = index) -> None:
            message = world.broker.take(index)
            world.run(work.leave_to_others(world, name, message))

        yield Move(f"{name}, an older one, meets message {index}", leave)
        yield Move(f"{name} claims by message {index}", claim, fair=True)
        yield Move(f"{name} claims by message {index}, asking twice", claim_asking_twice)


def _of_running(world: World, name: str, database: OneTransaction) -> Iterator[Move]:
    belief = world.crew[name].belief
    assert belief is not None
    task = belief.task
    yield Move(f"{name} renews", lambda: world.run(work.renew(world, name)), fair=True)
    for outcome in work.outcomes(world, belief):
        # A handler that ends well, or that ends because it heard of a cancel.
        fair = isinstance(outcome, Completed if not belief.knows_cancel else Stopped)
        what = type(outcome).__name__ + (" for good" if "good" in str(outcome) else "")

        def settle(outcome: Outcome = outcome) -> None:
            world.run(work.settle(world, name, outcome), disturbed=database.loses_answer)

        def settle_asking_twice(settle: Callable[[], None] = settle) -> None:
            database.loses_answer = True
            settle()

        yield Move(f"{name} settles {what}", settle, fair=fair)
        yield Move(f"{name} settles {what}, asking twice", settle_asking_twice)
    yield Move(f"{name} ends by order", lambda: world.run(work.hand_back(world, name, task.id)))
    yield Move(f"{name} dies", lambda: world.crew.bury(name))
    if world.crew.is_watched(world.crew[name].identity, task.id, task.attempt):
        yield Move(f"{name} freezes past its lease", lambda: _freeze_past_lease(world, task.id))


def _freeze_past_lease(world: World, task_id: int) -> None:
    faults.lapse(world, task_id)
    faults.thaw(world)
