"""The thread that keeps a process's lease: awake when a heartbeat is due, asleep otherwise."""

import math
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from app.db import tasks
from app.db.engine import Database
from app.domain.retry import Backoff
from app.domain.task import ClaimedTask
from app.handlers import AttemptStopped, TaskContext
from app.services.terms import Terms
from app.settings import Settings
from app.worker import interruption
from app.worker.interruption import Run, StopReason
from app.worker.lease import LeaseKeeper
from tests.integration import rows
from tests.support import wait_for

HEARTBEAT_SECONDS = 2.0


@pytest.fixture
def keeper(settings: Settings, shared_database: Database) -> LeaseKeeper:
    interruption.install()
    slow = settings.model_copy(update={"heartbeat_seconds": HEARTBEAT_SECONDS})
    return LeaseKeeper(shared_database, slow)


@pytest.fixture
def task(shared_database: Database):
    with shared_database.transaction() as connection:
        claimed = rows.claimed(connection)
    yield claimed
    with shared_database.transaction() as connection:
        tasks.delete_task(connection, claimed.id)


def a_run(task: ClaimedTask, limit_seconds: float = 60) -> Run:
    context = TaskContext(task.id, task.attempt, task.failures)
    return Run(task, context, Terms(Backoff(), limit_seconds))


def sleep() -> None:
    time.sleep(20)


def waits_of_the_thread() -> int:
    """Return how often the youngest lease thread has gone to sleep so far (proc(5))."""
    (*_, thread) = [each for each in threading.enumerate() if each.name == "lease"]
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    (line,) = [each for each in status.splitlines() if each.startswith("voluntary_ctxt")]
    return int(line.split()[1])


def test_a_run_with_little_time_is_stopped_in_it_though_the_thread_would_sleep_for_longer(
    keeper: LeaseKeeper, task: ClaimedTask
) -> None:
    with keeper.watching(a_run(task), time.monotonic()):
        pass
    # Not before it has gone to sleep until a heartbeat would be due.
    wait_for(lambda: keeper._looks_at != math.inf, 3 * HEARTBEAT_SECONDS, "it has looked")
    short = a_run(task, limit_seconds=0.3)
    began = time.monotonic()
    with pytest.raises(AttemptStopped), keeper.watching(short, began):
        short.call(sleep)
    assert short.stop_reason is StopReason.TIMED_OUT
    assert 0.3 <= time.monotonic() - began < HEARTBEAT_SECONDS - 0.2


def test_a_run_after_many_short_ones_has_its_lease_renewed(
    keeper: LeaseKeeper, task: ClaimedTask, shared_database: Database
) -> None:
    def lease_ends_at():
        with shared_database.transaction() as connection:
            query = text("SELECT lease_expires_at FROM tasks WHERE id = :id")
            return connection.execute(query, {"id": task.id}).scalar_one()

    for _ in range(20):
        with keeper.watching(a_run(task), time.monotonic()):
            pass
    before = lease_ends_at()
    began = time.monotonic()
    with keeper.watching(a_run(task), began):
        wait_for(lambda: lease_ends_at() > before, 3 * HEARTBEAT_SECONDS, "it is renewed")
        # A heartbeat after its own beginning, not after that of an earlier run.
        assert time.monotonic() - began > HEARTBEAT_SECONDS - 0.5


@pytest.mark.parametrize("seconds", [(0.0, 0.001), (0.001, 0.0)])
def test_short_runs_do_not_wake_the_thread(
    keeper: LeaseKeeper, task: ClaimedTask, seconds: tuple[float, float]
) -> None:
    of_run, between_runs = seconds
    with keeper.watching(a_run(task), time.monotonic()):
        pass
    before = waits_of_the_thread()
    for _ in range(200):
        with keeper.watching(a_run(task), time.monotonic()):
            # As whatever is more than a computation, this lets other threads go on.
            time.sleep(of_run)
        time.sleep(between_runs)
    # Each of them would be two wake-ups.
    assert waits_of_the_thread() - before < 20


def test_without_runs_the_thread_sleeps_on(keeper: LeaseKeeper, task: ClaimedTask) -> None:
    with keeper.watching(a_run(task), time.monotonic()):
        pass
    wait_for(lambda: keeper._looks_at != math.inf, 3 * HEARTBEAT_SECONDS, "it has looked")
    wait_for(lambda: keeper._looks_at == math.inf, 3 * HEARTBEAT_SECONDS, "it sleeps for good")
    before, since = waits_of_the_thread(), time.monotonic()
    wait_for(
        lambda: time.monotonic() - since > 1.5 * HEARTBEAT_SECONDS,
        2 * HEARTBEAT_SECONDS,
        "more than a heartbeat has passed",
    )
    # The last time to sleep may have been under way.
    assert waits_of_the_thread() - before <= 1
    late = a_run(task, limit_seconds=0.1)
    with pytest.raises(AttemptStopped), keeper.watching(late, time.monotonic()):
        late.call(sleep)
