"""Two operations at once, in every order of their statements, break no promise."""

from collections.abc import Callable

import pytest

from tests.model import schedules, situations
from tests.model.effort import LONG, TIME_LIMIT
from tests.model.stage import Stage
from tests.model.world import World

# The situations that differ most in what can meet there.
_FIRST = (
    situations.published_unrecorded,
    situations.running,
    situations.being_cancelled,
    situations.lapsed,
    situations.taken_over,
    situations.orphaned,
    situations.due_again,
    situations.failed,
    situations.run_again,
)


@pytest.mark.timeout(TIME_LIMIT)
@pytest.mark.parametrize(
    "situation",
    situations.SITUATIONS.values() if LONG else _FIRST,
    ids=lambda situation: situation.__name__,
)
def test_no_two_operations_break_a_promise_together(
    stage: Stage, world: World, situation: Callable[[World], None]
) -> None:
    # Most races need one of the two to be overtaken once (Musuvathi and Qadeer, "Iterative context
    # bounding for systematic testing of multithreaded programs", 2007).
    found = schedules.explore(
        stage,
        world,
        situation,
        most_switches=100 if LONG else 1,
        every_outcome=LONG,
        to_the_end=LONG,
    )
    print(f"{found.pairs} pairs in {found.orders} orders, {found.lock_waits} waits for a lock")
    assert found.pairs
    assert found.lock_waits
