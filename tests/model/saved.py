"""A concrete state of the world, to come back to: the database's part and the model's."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.task import TaskMessage
from tests.model.snapshot import Snapshot
from tests.model.workers import Crew, Worker
from tests.model.world import World


@dataclass(frozen=True, slots=True)
class Saved:
    """Nothing in here changes."""

    rows: tuple[str, ...]
    seen: Snapshot
    ids: tuple[int, ...]
    messages: tuple[TaskMessage, ...]
    offers: tuple[TaskMessage, ...]
    workers: Mapping[str, Worker]
    gone: frozenset[str]
    history: tuple[str, ...]


def save(world: World) -> Saved:
    """Return the state in which the world is, with nobody under way."""
    return Saved(
        world.observer.dump(),
        world.seen,
        tuple(world.ids),
        world.broker.messages,
        world.offers,
        dict(world.crew.workers),
        world.crew.gone,
        tuple(world.history),
    )


def restore_model(world: World, saved: Saved) -> None:
    """Bring back the model's part."""
    world.before = world.seen = saved.seen
    world.ids = list(saved.ids)
    world.broker.messages = saved.messages
    world.offers = saved.offers
    world.crew = Crew(dict(saved.workers), saved.gone)
    world.history = list(saved.history)


def restore(world: World, saved: Saved) -> None:
    """Bring back both parts."""
    world.observer.load(saved.rows)
    restore_model(world, saved)
