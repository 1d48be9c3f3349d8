"""Closes the set of states that one task can reach by whole operations, breadth first.

Concrete states are told apart by their abstraction only; from each abstract state every move is
made once, from the first concrete state found. Everything happens in one transaction of the
database with savepoints to come back to, so that its clock stands still: time passes by the
model's moves alone.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from app.db.engine import Connection
from app.settings import Settings
from tests.model.abstraction import abstract, is_over
from tests.model.moves import Move, moves
from tests.model.one_transaction import OneTransaction
from tests.model.saved import Saved, restore_model, save
from tests.model.snapshot import Observer
from tests.model.world import World


@dataclass
class Graph:
    """What was found."""

    # How each state was first reached: from which other, by which move.
    origin: dict[Hashable, tuple[Hashable, str]] = field(default_factory=dict)
    fair: dict[Hashable, set[Hashable]] = field(default_factory=dict)
    ended: set[Hashable] = field(default_factory=set)
    # States whose moves were not tried, because they lie too deep.
    untried: set[Hashable] = field(default_factory=set)
    edges: int = 0
    depth: int = 0

    def path(self, state: Hashable) -> list[str]:
        """Return where it began, and the moves by which a state was first reached."""
        names: list[str] = []
        while state is not None:
            state, name = self.origin[state]
            names.append(name)
        return names[::-1]

    def stuck(self) -> set[Hashable]:
        """Return the states from which fair moves lead to no end."""
        sources: dict[Hashable, set[Hashable]] = {}
        for source, found in self.fair.items():
            for state in found:
                sources.setdefault(state, set()).add(source)
        alive = self.ended | self.untried
        waiting = list(alive)
        while waiting:
            news = sources.get(waiting.pop(), set()) - alive
            alive |= news
            waiting += news
        return set(self.origin) - alive


class Explorer:
    """One exploration, in a transaction that is rolled back by whoever began it."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        self._observer = Observer(driver)
        self._database = OneTransaction(connection)
        self._world = World(settings, self._observer, self._database)
        self._now = self._observer.now()
        self._graph = Graph()
        self._waiting: deque[tuple[Hashable, int, Saved]] = deque()

    def explore(
        self,
        beginnings: Mapping[str, Callable[[World], None]],
        *,
        most_depth: int,
        may_happen: Callable[[str], bool] = lambda move: True,
    ) -> Graph:
        """Return every state within `most_depth` moves of a beginning. Raises Violation.

        `may_happen` says of a move's name whether it is made at all.
        """
        graph = self._graph
        self._observer.savepoint("nothing")
        for name, begin in beginnings.items():
            self._observer.back("nothing")
            self._world.reset()
            begin(self._world)
            self._found(None, name, 0)
        while self._waiting:
            state, depth, saved = self._waiting.popleft()
            graph.depth = depth
            if depth == most_depth:
                graph.untried.add(state)
                continue
            for move in self._moves_from(state, saved, may_happen):
                graph.edges += 1
                found = self._found(state, move.name, depth + 1)
                if move.fair:
                    graph.fair.setdefault(state, set()).add(found)
        return graph

    def _moves_from(
        self, state: Hashable, saved: Saved, may_happen: Callable[[str], bool]
    ) -> Iterator[Move]:
        """Make each move from a state, and yield it while the world is where it led."""
        self._observer.back("nothing")
        self._observer.load(saved.rows)
        self._observer.savepoint("state")
        restore_model(self._world, saved)
        for move in list(moves(self._world, self._database)):
            if not may_happen(move.name):
                continue
            try:
                move.make()
            except Exception as error:
                error.add_note("after: " + ", ".join([*self._graph.path(state), move.name]))
                raise
            yield move
            self._observer.back("state")
            restore_model(self._world, saved)

    def _found(self, origin: Hashable, move: str, depth: int) -> Hashable:
        """Note the state in which the world is, and return it."""
        state = abstract(self._world, self._now)
        if state not in self._graph.origin:
            self._graph.origin[state] = (origin, move)
            self._waiting.append((state, depth, save(self._world)))
            if is_over(self._world):
                self._graph.ended.add(state)
        return state
