"""Moves the actors one at a time, and finds out what each move leads to.

After every move it waits until each actor has reached its next point, has ended, or is seen to
wait for a lock. An actor that waits for a lock stays under way, and is looked at again whenever a
transaction has ended, since nothing else can free it.
"""

import time
from collections.abc import Callable

from app.settings import Settings
from tests.model.actors import Actor, Died, Order, Point
from tests.model.broker import Broker
from tests.model.operations import Operation, Raised, Returned
from tests.model.snapshot import Observer
from tests.model.violation import Violation, require
from tests.model.world import World

# Seconds: how long a statement usually takes at most, and after which something is wrong.
_SOON, _NEVER = 0.002, 30.0
# Orders at a point that end the transaction there, if there is one.
_ENDS = {Point.COMMIT, Point.ROLLBACK}


class Stage:
    """The actors of all processes, in one world."""

    def __init__(self, settings: Settings, observer: Observer, names: list[str]) -> None:
        self._observer = observer
        self.world: World
        self.actors = {name: Actor(name, settings, self._broker) for name in names}

    def _broker(self) -> Broker:
        return self.world.broker

    def set(self, world: World) -> None:
        """Begin a new example in this world."""
        require(all(actor.is_idle for actor in self.actors.values()), "all actors are idle")
        self.world = world

    def close(self) -> None:
        """End all threads."""
        for actor in self.actors.values():
            actor.close()

    # --- moves

    def begin(self, name: str, operation: Operation) -> None:
        """Let an idle actor go to the first point of an operation."""
        self.world.say(f"{name} begins: {operation.name}")
        self.actors[name].begin(operation)
        self._settle(self.actors[name])

    def step(self, name: str, order: Order = Order.GO) -> None:
        """Let a waiting actor do what it waits for, or meet trouble there."""
        actor = self.actors[name]
        point, operation = actor.point, actor.operation
        assert point is not None
        assert operation is not None
        self.world.say(f"{name} at {point.name}: {order.name}")
        actor.tell(order)
        ends = point in _ENDS or order is not Order.GO
        self._settle(actor, also_blocked=ends, look=operation if ends else None)

    def kill(self, name: str) -> None:
        """End an actor's operation where it is, as the end of its process does."""
        actor = self.actors[name]
        if actor.point is not None:
            self.step(name, Order.DIE)
        elif actor.is_running:
            operation = actor.operation
            assert operation is not None
            self.world.say(f"{name} dies while it waits for a lock")
            actor.doom()
            self._observer.interrupt(actor.backend)
            self._wait_for(actor)
            self._settle(actor, also_blocked=True, look=operation)

    def abandon(self) -> None:
        """End all operations, whatever state the example is in; nothing is looked at."""
        for actor in self.actors.values():
            if actor.is_running:
                actor.doom()
                self._observer.interrupt(actor.backend)
                self._wait_for(actor)
        for actor in self.actors.values():
            if actor.point is not None:
                actor.tell(Order.DIE)
                self._wait_for(actor)
            actor.dismiss()

    def disconnect(self, name: str) -> None:
        """Let the server drop a waiting actor's connection; the actor learns of it later."""
        actor = self.actors[name]
        assert actor.point is not None
        self.world.say(f"{name} loses its connection")
        actor.disturbed = True
        self._observer.disconnect(actor.backend)
        self._settle(None, also_blocked=True)

    def finish(self, name: str) -> bool:
        """Move an actor until its operation has ended; return whether no lock kept it from that."""
        actor = self.actors[name]
        while actor.point is not None:
            self.step(name)
        return actor.is_idle

    def under_way(self) -> list[str]:
        """Return the actors that wait for an order."""
        return [name for name, actor in self.actors.items() if actor.point is not None]

    def blocked(self) -> list[str]:
        """Return the actors that wait for a lock."""
        return [name for name, actor in self.actors.items() if actor.is_running]

    def has_touched_nothing(self, name: str) -> bool:
        """Return whether a waiting actor's transaction holds no row and has written none."""
        return not self._observer.has_written(self.actors[name].backend)

    # --- what follows from a move

    def _settle(
        self, moved: Actor | None, *, also_blocked: bool = False, look: Operation | None = None
    ) -> None:
        """Wait until nothing goes on by itself any more; then look at what has become of it."""
        self._wait_until_quiet(
            lambda: [
                actor
                for actor in self._in_order(moved)
                if actor.is_running and (actor is moved or also_blocked)
            ]
        )
        if look is not None:
            self.world.observe(look)
        for actor in self._in_order(moved):
            if actor.ended is not None:
                self._end(actor)
        if self.blocked() and not self.under_way():
            raise Violation(f"broken promise: nothing is in its own way; {self.blocked()} are")

    def _wait_until_quiet(self, still_running: Callable[[], list[Actor]]) -> None:
        deadline = time.monotonic() + _NEVER
        while running := still_running():
            # The others were waiting for a lock until now, and seldom have anything to say.
            for actor in running:
                actor.listen(_SOON if actor is running[0] else 0)
            running = still_running()
            if not running:
                return
            backends = [actor.backend for actor in running]
            if self._observer.waiting_for_locks(backends) >= set(backends):
                return
            require(time.monotonic() < deadline, "every statement ends", running)

    def _wait_for(self, actor: Actor) -> None:
        require(actor.listen(_NEVER), "a statement whose client is gone ends", actor.name)

    def _in_order(self, first: Actor | None) -> list[Actor]:
        """Return all actors, the one that was moved before the others."""
        return sorted(self.actors.values(), key=lambda actor: actor is not first)

    def _end(self, actor: Actor) -> None:
        operation, ended, disturbed = actor.operation, actor.ended, actor.disturbed
        assert operation is not None
        actor.dismiss()
        match ended:
            case Returned() | Raised():
                self.world.end(operation, ended, disturbed=disturbed)
            case Died():
                self.world.say(f"{actor.name} is gone")
            case BaseException():
                raise Violation(f"broken promise: no error of its own; {operation.name}") from ended
