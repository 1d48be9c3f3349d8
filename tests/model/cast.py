"""Who plays in the interleavings, and what each can begin to do next."""

from app.domain.priority import Priority
from app.domain.status import Status
from tests.model import clients, upkeep, work
from tests.model.operations import Operation
from tests.model.world import World

CLIENTS = ("api1", "api2")
DISPATCHER = "dispatcher"
UPKEEP = ("upkeep1", "upkeep2")
WORKERS = ("worker1", "worker2")
# A worker's process has two threads, as the executor and its lease do.
MAIN, HEART = "main", "heart"
NAMES = [
    *CLIENTS,
    DISPATCHER,
    *UPKEEP,
    *(f"{worker}.{part}" for worker in WORKERS for part in (MAIN, HEART)),
]
MOST_TASKS = 3


def weight(name: str) -> int:
    """Return how many chances to move an actor has; clients would soon have ended all tasks."""
    return 4 if name.endswith(MAIN) else 1 if name in CLIENTS else 2


def worker_of(name: str) -> str | None:
    """Return the worker whose thread an actor is, if it is one."""
    worker, _, part = name.partition(".")
    return worker if part else None


def may_begin(world: World, name: str) -> bool:
    """Return whether an idle actor has anything to do."""
    place = worker_of(name)
    if place is None:
        return name != DISPATCHER or bool(world.offers)
    worker = world.crew[place]
    if worker.frozen:
        return False
    if name.endswith(HEART):
        return worker.belief is not None and worker.belief.outcome is None
    return bool(worker.belief or world.broker.messages)


def next_operation(world: World, name: str, choice: int, which: int) -> Operation:
    """Return what an idle actor that may begin does, chosen by two numbers."""
    worker = worker_of(name)
    if name in CLIENTS:
        return _of_client(world, choice, world.ids[which % len(world.ids)])
    if name == DISPATCHER:
        return upkeep.dispatch_offers(world)
    if name in UPKEEP:
        return _of_upkeep(world, choice)
    assert worker is not None
    if name.endswith(HEART):
        return work.renew(world, worker)
    return _of_main(world, worker, choice)


def _of_client(world: World, choice: int, task_id: int) -> Operation:
    row = world.seen.get(task_id)
    match choice % 8:
        case 0 | 1 if row is not None and row.status in clients.BAD_ENDS:
            return clients.run_again(world, task_id)
        case 0 | 1 | 2:
            return clients.cancel(world, task_id)
        case 3:
            return clients.delete(world, task_id)
        case 4:
            return clients.run_again(world, task_id)
        case number:
            return clients.update(world, task_id, list(Priority)[number - 5])


def _of_upkeep(world: World, choice: int) -> Operation:
    widows = [
        row.worker
        for row in world.seen.values()
        if row.status == Status.IN_PROGRESS and row.worker in world.crew.gone
    ]
    steps = len(upkeep.STEPS)
    index = choice % (steps + len(widows))
    if index < steps:
        return upkeep.STEPS[index](world)
    return upkeep.rescue_from(world, widows[index - steps] or "")


def _of_main(world: World, name: str, choice: int) -> Operation:
    worker = world.crew[name]
    if worker.belief is not None:
        outcomes = work.outcomes(world, worker.belief)
        outcome = worker.belief.outcome or outcomes[choice % len(outcomes)]
        return work.settle(world, name, outcome)
    message = world.broker.take(choice % len(world.broker.messages))
    # Now and then one of an older version.
    follow = work.leave_to_others if choice % 7 == 6 else work.claim
    return follow(world, name, message)
