"""Two operations at once, in every order of their statements, commits and publishings."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from app.domain.priority import Priority
from app.domain.status import WAITING, Status
from app.services.lifecycle.attempts import Failed
from tests.model import cast, clients, upkeep, work
from tests.model.actors import Point
from tests.model.drain import drain
from tests.model.operations import Operation
from tests.model.saved import restore, save
from tests.model.stage import Stage
from tests.model.world import World


@dataclass(frozen=True, slots=True)
class Part:
    """An operation that somebody could begin. `actors` are those who could."""

    name: str
    actors: tuple[str, ...]
    # Given the world and who does it.
    make: Callable[[World, str], Operation]


def parts(world: World, task_id: int, *, every_outcome: bool) -> Iterator[Part]:
    """Yield what can be begun in a situation of one task; see `explore`."""
    yield Part("cancel", cast.CLIENTS, lambda world, _: clients.cancel(world, task_id))
    yield Part("delete", cast.CLIENTS, lambda world, _: clients.delete(world, task_id))
    yield Part(
        "update", cast.CLIENTS, lambda world, _: clients.update(world, task_id, Priority.HIGH)
    )
    if world.offers:
        yield Part(
            "dispatch offers", (cast.DISPATCHER,), lambda world, _: upkeep.dispatch_offers(world)
        )
    row = world.seen[task_id]
    if row.status not in WAITING:
        yield Part("run again", cast.CLIENTS, lambda world, _: clients.run_again(world, task_id))
    for step in upkeep.STEPS:
        yield Part(step.__name__, cast.UPKEEP, lambda world, _, step=step: step(world))
    owner = row.worker or ""
    if row.status == Status.IN_PROGRESS and owner in world.crew.gone:
        yield Part("rescue_from", cast.UPKEEP, lambda world, _: upkeep.rescue_from(world, owner))
    yield from _of_workers(world, every_outcome=every_outcome)


def _of_workers(world: World, *, every_outcome: bool) -> Iterator[Part]:
    crew = world.crew.workers.values()
    idle = tuple(f"{worker.name}.{cast.MAIN}" for worker in crew if worker.belief is None)
    if idle and world.broker.messages:
        yield Part("claim", idle, _claim)
        yield Part("leave to others", idle, _leave)
    for worker in crew:
        if worker.belief is None:
            continue
        name = worker.name
        heart, main = f"{name}.{cast.HEART}", f"{name}.{cast.MAIN}"
        yield Part("renew", (heart,), lambda world, _, name=name: work.renew(world, name))
        for outcome in work.outcomes(world, worker.belief):
            if isinstance(outcome, Failed) and outcome.permanent and not every_outcome:
                continue
            yield Part(
                f"settle {outcome}",
                (main,),
                lambda world, _, name=name, outcome=outcome: work.settle(world, name, outcome),
            )


def _claim(world: World, actor: str) -> Operation:
    worker = cast.worker_of(actor)
    assert worker is not None
    return work.claim(world, worker, world.broker.take(0))


def _leave(world: World, actor: str) -> Operation:
    worker = cast.worker_of(actor)
    assert worker is not None
    return work.leave_to_others(world, worker, world.broker.take(0))


def pairs(found: Sequence[Part]) -> Iterator[tuple[tuple[str, Part], tuple[str, Part]]]:
    """Yield every two operations that can be under way at the same time, and who does them."""
    for one, other in combinations_with_replacement(found, 2):
        first = one.actors[0]
        second = next((name for name in other.actors if name != first), None)
        if second is not None:
            yield (first, one), (second, other)


@dataclass(slots=True)
class Found:
    """How much was tried."""

    pairs: int = 0
    orders: int = 0
    lock_waits: int = 0


def explore(
    stage: Stage,
    world: World,
    situation: Callable[[World], None],
    *,
    most_switches: int,
    every_outcome: bool = True,
    to_the_end: bool,
) -> Found:
    """Try the orders of every pair, and return how much that was. Raises Violation.

    Those in which one waits for the other `most_switches` times at most, not counting the waits
    for locks; `to_the_end` also brings the task to its end after each. Without `every_outcome` an
    attempt never fails for good, which meets others just as a success does.
    """
    world.reset()
    world.observer.clear()
    stage.set(world)
    situation(world)
    (task_id,) = world.seen
    saved = save(world)
    found = Found()
    able = list(parts(world, task_id, every_outcome=every_outcome))
    for pair in list(pairs(able)):
        found.pairs += 1
        for order in _orders(most_switches):
            restore(world, saved)
            try:
                for name, part in pair:
                    stage.begin(name, part.make(world, name))
                found.lock_waits += order.play(stage)
                if to_the_end:
                    drain(world)
            except BaseException as error:
                error.add_note("\n".join(world.history))
                stage.abandon()
                raise
            found.orders += 1
    return found


class _Order:
    """One order of moves, told by a number wherever two can move: 0 to stay with whom it was."""

    def __init__(self, told: list[int]) -> None:
        self._told = told
        self._made: list[int] = []

    def play(self, stage: Stage) -> bool:
        """Move whoever is chosen until all have ended; return whether one waited for a lock."""
        last = ""
        waited = False
        while able := sorted(stage.under_way(), key=lambda name: name != last):
            choice = 0
            if len(able) > 1:
                made = len(self._made)
                choice = self._told[made] if made < len(self._told) else 0
                self._made.append(choice)
            last = able[choice]
            self._step(stage, last)
            waited |= bool(stage.blocked())
        return waited

    def _step(self, stage: Stage, name: str) -> None:
        """Move somebody, and on past the end of a transaction that matters to nobody else.

        One that has neither locked nor written anything has no transaction id, and its end changes
        nothing for others: no order of it needs trying.
        """
        stage.step(name)
        actor = stage.actors[name]
        while actor.point in {Point.COMMIT, Point.ROLLBACK} and stage.has_touched_nothing(name):
            stage.step(name)

    def next(self, most_switches: int) -> "_Order | None":
        """Return the order that differs in the last choice that can still be made otherwise.

        The first choice, of who begins, is no switch yet.
        """
        for index in range(len(self._made) - 1, -1, -1):
            switches = sum(self._made[1:index]) + min(index, 1)
            if self._made[index] == 0 and switches <= most_switches:
                return _Order([*self._made[:index], 1])
        return None


def _orders(most_switches: int) -> Iterator[_Order]:
    order: _Order | None = _Order([])
    while order is not None:
        yield order
        order = order.next(most_switches)
