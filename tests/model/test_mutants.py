"""The model finds faults: each mutant of the service breaks the promise that it should."""

from functools import partial

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test

from app.db.engine import Database
from app.settings import Settings
from tests.model import mutants, schedules
from tests.model.effort import LONG, TIME_LIMIT
from tests.model.machine import Interleavings
from tests.model.mutants import Mutant
from tests.model.reachable import Explorer
from tests.model.situations import SITUATIONS
from tests.model.stage import Stage
from tests.model.violation import Violation
from tests.model.world import World

# Where each is found, after how many moves, and what is said then.
BY_MOVES = [
    (mutants.NO_FENCE, "taken_over", 1, "a worker ends no attempt but its own"),
    (mutants.NO_FENCE_FOR_HEARTBEATS, "taken_over", 1, "a heartbeat hears whether"),
    # No attempt is on record twice, says the table's key.
    (mutants.NO_STATUS_GUARD, "running", 1, "no error of its own"),
    # The table's own constraint refuses what this one tries.
    (mutants.CANCEL_FORGOTTEN, "being_cancelled", 1, "no error of its own"),
    (mutants.CANCEL_NOT_STORED, "running", 1, "a row is what its timeline says"),
    (mutants.CLAIM_OF_RUNNING, "running", 1, "a status changes as the model says"),
    (mutants.CLAIM_TOO_SOON, "running", 2, "claimed when it is due"),
    (mutants.CLAIM_FROM_ANYWHERE, "dispatched", 2, "starts nothing in another queue"),
    (mutants.RESUMED_BY_ANYBODY, "running", 1, "what was claimed is the worker's own"),
    (mutants.RESCUE_OF_THE_LIVING, "running", 1, "whose worker is gone is rescued"),
    (mutants.CRASH_NOT_COUNTED, "lapsed", 1, "a row is what its timeline says"),
    (mutants.NO_CRASH_LIMIT, "lapsed_for_the_last_time", 1, "crashes end at their limit"),
    (mutants.CRASH_COSTS_AN_ATTEMPT, "lapsed", 1, "costs no attempt"),
    (mutants.NOT_ON_RECORD, "running", 1, "is on record, once"),
    (mutants.ON_RECORD_TWICE, "running", 1, "is on record, once"),
    (mutants.ON_RECORD_AS_ANOTHERS, "lapsed", 1, "on record as its own worker's"),
    (mutants.RELEASED_AS_LOST, "running", 1, "is on record, once"),
    (mutants.LINES_WITHOUT_FENCE, "taken_over", 1, "kept with the attempt that logged it"),
    (mutants.LINES_TWICE, "being_cancelled", 1, "no error of its own"),
    (mutants.STILL_CANCELLED, "cancelled", 1, "no error of its own"),
    (mutants.CRASHES_KEPT, "lapsed_for_the_last_time", 2, "a row is what its timeline says"),
    (mutants.NO_ROOM, "on_its_last_attempt", 2, "costs no attempt"),
    (mutants.COUNTED_ANEW, "failed", 1, "a line names its attempt"),
    (mutants.RUN_AGAIN_FROM_ANYWHERE, "running", 1, "a status changes as the model says"),
    (mutants.CLAIM_OF_ANY_TYPE, "dispatched", 1, "only its own writer writes a line"),
    (mutants.UNKNOWN_TO_ALL, "set_aside", 2, "only its own writer writes a line"),
    (mutants.UNKNOWN_AT_ONCE, "dispatched", 1, "a task of an unknown type is given time"),
    (mutants.STILL_SET_ASIDE, "set_aside", 1, "what runs has found a worker"),
]
# Found only when two operations meet.
BY_ORDERS = [
    (mutants.NO_LOCK, "dispatched", "a cancel's answer is true|an accepted cancel is written"),
    (mutants.CANCEL_FORGOTTEN_BY_RESCUE, "lapsed", "upkeep meets no error"),
    # A key refuses lines of a task that is gone; a heartbeat and a settlement wait for each other.
    (mutants.LINES_WITHOUT_LOCK, "running", "no error of its own|nothing is in its own way"),
    (mutants.LINES_WITHOUT_ENOUGH_LOCK, "running", "nothing is in its own way"),
]
# Found only when everything has come to rest, and a task has not come to its end.
BY_REST = [
    (mutants.NO_RESCUE, "orphaned"),
    (mutants.RETRIES_UNPUBLISHED, "due_again"),
    (mutants.LOST_MESSAGES_STAY_LOST, "message_lost"),
]
EVERY = [case[0] for case in (*BY_MOVES, *BY_ORDERS, *BY_REST)]
SOON_FOUND = [mutants.NOT_ON_RECORD, mutants.CANCEL_NOT_STORED, mutants.NO_RESCUE]


@pytest.mark.parametrize(
    ("mutant", "situation", "depth", "promise"), BY_MOVES, ids=[case[0].name for case in BY_MOVES]
)
def test_a_fault_is_found_by_whole_operations(
    direct: Database, settings: Settings, mutant: Mutant, situation: str, depth: int, promise: str
) -> None:
    with direct.engine.connect() as connection, mutant.planted():
        explorer = Explorer(connection, settings)
        with pytest.raises(Violation, match=promise):
            explorer.explore({situation: SITUATIONS[situation]}, most_depth=depth)
        connection.rollback()


@pytest.mark.parametrize(
    ("mutant", "situation", "promise"), BY_ORDERS, ids=[case[0].name for case in BY_ORDERS]
)
def test_a_fault_is_found_between_two_statements(
    stage: Stage, world: World, mutant: Mutant, situation: str, promise: str
) -> None:
    with mutant.planted(), pytest.raises(Violation, match=promise):
        schedules.explore(stage, world, SITUATIONS[situation], most_switches=1, to_the_end=False)


@pytest.mark.parametrize(("mutant", "situation"), BY_REST, ids=[case[0].name for case in BY_REST])
def test_a_task_that_is_stuck_is_found(
    stage: Stage, world: World, mutant: Mutant, situation: str
) -> None:
    with mutant.planted(), pytest.raises(Violation, match="every task comes to its end"):
        schedules.explore(stage, world, SITUATIONS[situation], most_switches=0, to_the_end=True)


@pytest.mark.timeout(TIME_LIMIT)
@pytest.mark.parametrize("mutant", EVERY if LONG else SOON_FOUND, ids=lambda mutant: mutant.name)
def test_a_fault_is_found_by_chance(stage: Stage, world: World, mutant: Mutant) -> None:
    with mutant.planted(), pytest.raises(Violation):
        run_state_machine_as_test(
            partial(Interleavings, stage, world),
            settings=hypothesis_settings(
                max_examples=3000 if LONG else 200,
                stateful_step_count=50,
                deadline=None,
                # The same chance each time, and nothing to learn from what is found.
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
