"""What can befall processes and messages. Each does nothing where it cannot happen."""

from enum import Enum, auto

from app.domain.status import Status
from tests.model import cast, work
from tests.model.actors import Order, Point
from tests.model.stage import Stage
from tests.model.world import World


class MessageTrouble(Enum):
    """What can befall messages, or the broker that has them."""

    LOST = auto()
    DOUBLED = auto()
    ALL_LOST = auto()
    # Offers die with the API process that holds them.
    OFFERS_LOST = auto()
    BROKER_AWAY_OR_BACK = auto()


def disturb_messages(world: World, trouble: MessageTrouble, number: int) -> None:
    """Do something to the messages; `number` says which."""
    broker = world.broker
    world.say(f"messages: {trouble.name} {number}")
    match trouble:
        case MessageTrouble.OFFERS_LOST:
            world.offers = ()
        case MessageTrouble.BROKER_AWAY_OR_BACK:
            broker.up = not broker.up
        case MessageTrouble.ALL_LOST:
            broker.forget()
        case MessageTrouble.LOST if broker.messages:
            broker.take(number % len(broker.messages))
        case MessageTrouble.DOUBLED if broker.messages:
            broker.double(number % len(broker.messages))


def trouble(stage: Stage, who: int, order: Order | None) -> None:
    """Let one that is under way meet trouble; None lets the server drop its connection."""
    under_way = stage.under_way()
    if not under_way:
        return
    name = under_way[who % len(under_way)]
    actor = stage.actors[name]
    if cast.worker_of(name) and order in {Order.DIE, Order.COMMIT_AND_DIE}:
        # A worker's threads die together: `end_worker`.
        return
    match actor.point:
        case Point.ROLLBACK:
            return
        case Point.PUBLISH:
            if order is Order.DIE:
                stage.step(name, order)
            return
        case Point.STATEMENT if order in {Order.COMMIT_AND_DIE, Order.COMMIT_AND_DISCONNECT}:
            return
        case _:
            if order is None:
                stage.disconnect(name)
            else:
                stage.step(name, order)


def end_worker(stage: Stage, name: str, *, committed: bool, orderly: bool) -> None:
    """End a worker's process; `committed` lets a commit be its last deed.

    An `orderly` end, at the worker's shutdown, hands back what the process has or is about to have.
    """
    world = stage.world
    main = f"{name}.{cast.MAIN}"
    actor = stage.actors[main]
    message = actor.operation.message if actor.operation else None
    belief = world.crew[name].belief
    task_id = belief.task.id if belief else message.task_id if message else None
    if task_id is None:
        return

    stage.kill(f"{name}.{cast.HEART}")
    if committed and actor.point is Point.COMMIT:
        stage.step(main, Order.COMMIT_AND_DIE)
    else:
        stage.kill(main)
    if orderly:
        stage.begin(main, work.hand_back(world, name, task_id))
    else:
        world.say(f"{name} dies")
        world.crew.bury(name)


def thaw(world: World) -> None:
    """Let every frozen worker go on."""
    for worker in list(world.crew.workers.values()):
        if worker.frozen:
            world.freeze(worker.name, frozen=False)


def lapse(world: World, task_id: int) -> None:
    """Let a running task's lease lapse, its worker frozen if it is there."""
    row = world.seen.get(task_id)
    if row is None or row.status != Status.IN_PROGRESS:
        return
    for worker in list(world.crew.workers.values()):
        if worker.identity == row.worker and not worker.frozen:
            world.freeze(worker.name, frozen=True)
    world.lapse(task_id)
