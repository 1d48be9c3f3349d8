"""Hypothesis' part: it chooses who moves, what they do, and what troubles they meet.

Every rule takes plain numbers, whatever the state of the world is, and makes the best of them. So
no choice depends on the world, in which a real database need not let everything happen twice alike.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from app.domain.priority import Priority
from tests.model import cast, clients, faults
from tests.model.actors import Order
from tests.model.drain import drain, finish_all
from tests.model.prologue import Beginning, tell
from tests.model.stage import Stage
from tests.model.world import A_LONG_WHILE, A_WHILE, World

NUMBERS = st.integers(0, 60)
TASKS = st.integers(0, cast.MOST_TASKS - 1)
WORKERS = st.sampled_from(cast.WORKERS)
PRIORITIES = st.sampled_from(Priority)
# Without messages little would happen.
TROUBLES = st.sampled_from([*[faults.MessageTrouble.DOUBLED] * 4, *faults.MessageTrouble])
BEGINNINGS = st.tuples(PRIORITIES, st.integers(1, 3), st.sampled_from(Beginning))


class Interleavings(RuleBasedStateMachine):
    """One example: up to three tasks, and whatever may befall them."""

    def __init__(self, stage: Stage, world: World) -> None:
        super().__init__()
        self.stage = stage
        self.world = world
        self.failed = False
        world.reset()
        stage.set(world)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Add what happened so far to whatever is raised."""
        try:
            yield
        except BaseException as error:
            self.failed = True
            error.add_note("\n".join(self.world.history))
            raise

    @initialize(tasks=st.lists(BEGINNINGS, min_size=1, max_size=cast.MOST_TASKS))
    def begin(self, tasks: list[tuple[Priority, int, Beginning]]) -> None:
        with self.told():
            for priority, attempts, beginning in tasks:
                tell(self.world, priority, attempts, beginning)

    @rule(priority=PRIORITIES, attempts=st.integers(1, 3))
    def create(self, priority: Priority, attempts: int) -> None:
        if len(self.world.ids) < cast.MOST_TASKS:
            with self.told():
                self.world.run(clients.create(self.world, priority, attempts))

    # --- the service at work

    def _move(self, who: int, choice: int, which: int) -> str | None:
        """Let somebody who can move do so, and return who that was."""
        able = [name for name in cast.NAMES if self._can_move(name)]
        chances = [name for name in able for _ in range(cast.weight(name))]
        if not chances:
            return None
        name = chances[who % len(chances)]
        with self.told():
            if self.stage.actors[name].is_idle:
                self.stage.begin(name, cast.next_operation(self.world, name, choice, which))
            else:
                self.stage.step(name)
        return name

    def _can_move(self, name: str) -> bool:
        actor, worker = self.stage.actors[name], cast.worker_of(name)
        if worker and self.world.crew[worker].frozen:
            return False
        if actor.is_idle:
            return cast.may_begin(self.world, name)
        return actor.point is not None

    @rule(who=NUMBERS, choice=NUMBERS, which=TASKS)
    def somebody_moves(self, who: int, choice: int, which: int) -> None:
        self._move(who, choice, which)

    @rule(who=NUMBERS, choice=NUMBERS, which=TASKS)
    def another_moves(self, who: int, choice: int, which: int) -> None:
        # The same once more, since most of what happens should be this.
        self._move(who, choice, which)

    @rule(who=NUMBERS, choice=NUMBERS, which=TASKS)
    def somebody_does_all_of_it(self, who: int, choice: int, which: int) -> None:
        name = self._move(who, choice, which)
        with self.told():
            if name is not None:
                self.stage.finish(name)

    # --- troubles

    @rule(who=NUMBERS, order=st.sampled_from(Order), by_server=st.booleans())
    def trouble(self, who: int, order: Order, by_server: bool) -> None:
        with self.told():
            faults.trouble(self.stage, who, None if by_server else order)

    @rule(name=WORKERS, committed=st.booleans(), orderly=st.booleans())
    def a_worker_ends(self, name: str, committed: bool, orderly: bool) -> None:
        with self.told():
            faults.end_worker(self.stage, name, committed=committed, orderly=orderly)

    @rule(which=TASKS)
    def a_lease_lapses(self, which: int) -> None:
        with self.told():
            faults.lapse(self.world, self.world.ids[which % len(self.world.ids)])

    @rule()
    def frozen_workers_go_on(self) -> None:
        faults.thaw(self.world)

    @rule(trouble=TROUBLES, number=NUMBERS)
    def messages_go_astray(self, trouble: faults.MessageTrouble, number: int) -> None:
        faults.disturb_messages(self.world, trouble, number)

    @rule(seconds=st.sampled_from([A_WHILE, A_LONG_WHILE]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    def teardown(self) -> None:
        """Let trouble end and every task come to its end; then clear the stage."""
        try:
            if not self.failed:
                with self.told():
                    faults.thaw(self.world)
                    finish_all(self.stage)
                    drain(self.world)
        finally:
            self.stage.abandon()
            self.world.observer.clear()
