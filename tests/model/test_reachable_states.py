"""Every state that whole operations reach keeps every promise, and leads to an end."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pytest

from app.db.engine import Connection, Database
from app.domain.priority import Priority
from app.settings import Settings
from tests.model import clients
from tests.model.effort import LONG, TIME_LIMIT
from tests.model.reachable import Explorer, Graph
from tests.model.situations import SITUATIONS
from tests.model.world import World


@pytest.fixture
def connection(direct: Database) -> Iterator[Connection]:
    with direct.engine.connect() as connection:
        yield connection
        connection.rollback()


def created(world: World, priority: Priority, attempts: int) -> None:
    """Begin with nothing but a new task."""
    world.run(clients.create(world, priority, attempts))


# From where, and whether people change its priority meanwhile. Where they do no older worker meets
# it, or the states would be too many; what that one does depends on no priority.
_CLOSURES: dict[str, tuple[Mapping[str, Callable[[World], None]], bool]] = {
    "one attempt": ({"new": partial(created, priority=Priority.HIGH, attempts=1)}, False),
    "two attempts": ({"new": partial(created, priority=Priority.HIGH, attempts=2)}, False),
    "changing priorities": ({"new": partial(created, priority=Priority.MEDIUM, attempts=1)}, True),
}


@pytest.mark.timeout(TIME_LIMIT)
def test_three_moves_from_any_situation_break_no_promise(
    connection: Connection, settings: Settings
) -> None:
    graph = Explorer(connection, settings).explore(SITUATIONS, most_depth=3)
    say(graph)
    assert not graph.stuck()


@pytest.mark.timeout(TIME_LIMIT)
@pytest.mark.parametrize("closure", _CLOSURES if LONG else ["one attempt"])
def test_what_can_befall_a_task_breaks_no_promise(
    connection: Connection, settings: Settings, closure: str
) -> None:
    beginnings, priorities_change = _CLOSURES[closure]
    graph = Explorer(connection, settings).explore(
        beginnings,
        most_depth=100 if LONG else 6,
        may_happen=lambda move: ("an older one" if priorities_change else "make it") not in move,
    )
    say(graph)
    assert not graph.stuck()
    if LONG:
        assert not graph.untried


def say(graph: Graph) -> None:
    print(
        f"{len(graph.origin)} states, {graph.edges} moves, {graph.depth} deep; "
        f"{len(graph.ended)} are ends, {len(graph.untried)} were not gone on from"
    )
