"""The model finds faults: each mutant of the service breaks the promise that it should."""

import pytest

from app.db.engine import Database
from app.settings import Settings
from tests.model import mutants, schedules
from tests.model.mutants import Mutant
from tests.model.reachable import Explorer
from tests.model.situations import SITUATIONS
from tests.model.stage import Stage
from tests.model.violation import Violation
from tests.model.world import World


@pytest.mark.parametrize(
    ("mutant", "situation", "depth", "promise"),
    [
        (mutants.NO_FENCE, "taken_over", 1, "a worker ends no attempt but its own"),
        (mutants.NO_FENCE_FOR_HEARTBEATS, "taken_over", 1, "a heartbeat hears whether"),
        (mutants.NO_STATUS_GUARD, "running", 1, "a status changes as the model says"),
        (mutants.CANCEL_FORGOTTEN, "being_cancelled", 1, "no error of its own"),
        (mutants.CANCEL_NOT_STORED, "running", 1, "a row is what its timeline says"),
        (mutants.CLAIM_OF_RUNNING, "running", 1, "a status changes as the model says"),
        (mutants.CLAIM_TOO_SOON, "running", 2, "claimed when it is due"),
        (mutants.CLAIM_FROM_ANYWHERE, "dispatched", 2, "starts nothing in another queue"),
        (mutants.RESCUE_OF_THE_LIVING, "running", 1, "whose worker is gone is rescued"),
        (mutants.CRASH_NOT_COUNTED, "lapsed", 1, "a row is what its timeline says"),
        (mutants.NO_CRASH_LIMIT, "lapsed_for_the_last_time", 1, "crashes end at their limit"),
        (mutants.CRASH_COSTS_AN_ATTEMPT, "lapsed", 1, "costs no attempt"),
    ],
    ids=lambda value: value.name if isinstance(value, Mutant) else "-",
)
def test_a_fault_is_found_by_whole_operations(
    direct: Database,
    settings: Settings,
    mutant: Mutant,
    situation: str,
    depth: int,
    promise: str,
) -> None:
    with direct.engine.connect() as connection, mutant.planted():
        explorer = Explorer(connection, settings)
        with pytest.raises(Violation, match=promise):
            explorer.explore({situation: SITUATIONS[situation]}, most_depth=depth)
        connection.rollback()


@pytest.mark.parametrize(
    ("mutant", "situation", "promise"),
    [
        (mutants.NO_LOCK, "dispatched", "a cancel's answer is true|an accepted cancel is written"),
        (mutants.CANCEL_FORGOTTEN_BY_RESCUE, "lapsed", "no error of its own"),
    ],
    ids=lambda value: value.name if isinstance(value, Mutant) else "-",
)
def test_a_fault_is_found_between_two_statements(
    stage: Stage, world: World, mutant: Mutant, situation: str, promise: str
) -> None:
    with mutant.planted(), pytest.raises(Violation, match=promise):
        schedules.explore(stage, world, SITUATIONS[situation], most_switches=1, to_the_end=False)


@pytest.mark.parametrize(
    ("mutant", "situation"),
    [
        (mutants.NO_RESCUE, "orphaned"),
        (mutants.RETRIES_UNPUBLISHED, "due_again"),
        (mutants.LOST_MESSAGES_STAY_LOST, "message_lost"),
    ],
    ids=lambda value: value.name if isinstance(value, Mutant) else "-",
)
def test_a_task_that_is_stuck_is_found(
    stage: Stage, world: World, mutant: Mutant, situation: str
) -> None:
    with mutant.planted(), pytest.raises(Violation, match="every task comes to its end"):
        schedules.explore(stage, world, SITUATIONS[situation], most_switches=0, to_the_end=True)
