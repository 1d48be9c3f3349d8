"""Whatever happens between any two statements of anybody, no promise is broken."""

from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.effort import EXAMPLES, TIME_LIMIT
from tests.model.machine import Interleavings
from tests.model.stage import Stage
from tests.model.world import World


@pytest.mark.timeout(TIME_LIMIT)
def test_no_order_of_statements_and_no_trouble_breaks_a_promise(stage: Stage, world: World) -> None:
    run_state_machine_as_test(
        partial(Interleavings, stage, world),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            print_blob=True,
            # Real servers are slow, and a failure seldom needs all that Hypothesis began with.
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
