"""No waiting task starves, and none that has waited little overtakes: as a property, and for real.

The property is tried with the service's own statements on PostgreSQL and simulated time and slots;
the flood with a real worker and a clock that nobody turned.
"""

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.db import attempts, creation, promotion, tasks, workers
from app.db.engine import Connection, Database
from app.domain.priority import QUEUES_BY_URGENCY, Priority, QueueName, queue_for
from app.domain.task import NewTask, Task
from tests.faults.conftest import LONG
from tests.faults.figures import figure
from tests.lab import Lab
from tests.support import wait_for

# Simulated time goes in ticks; a round of maintenance is done in each.
TICK = timedelta(seconds=10)
MAX_WAIT = 40


@dataclass
class Simulation:
    """Slots that always take the oldest message of the most urgent queue that holds one."""

    connection: Connection
    slots: int
    duration: int
    now: int = 0
    arrived: dict[int, int] = field(default_factory=dict)
    waited: dict[int, int] = field(default_factory=dict)
    running: list[tuple[Task, int]] = field(default_factory=list)
    lines: dict[QueueName, list[int]] = field(default_factory=lambda: defaultdict(list))

    def arrive(self, priority: Priority) -> int:
        new = NewTask("a task", None, priority, "simulated_work", {}, 1)
        task = creation.insert_task(self.connection, new)
        self.arrived[task.id] = self.now
        self.lines[task.queue].append(task.id)
        return task.id

    def tick(self) -> None:
        self.now += 1
        age = text("UPDATE tasks SET run_at = run_at - :by WHERE status = 'NEW'")
        self.connection.execute(age, {"by": TICK})
        for task, ends in list(self.running):
            if ends <= self.now:
                assert attempts.complete(self.connection, task, None)
                self.running.remove((task, ends))
        for quarters, to in zip((3, 2, 1), QUEUES_BY_URGENCY, strict=False):
            waited = MAX_WAIT * TICK.total_seconds() * quarters / 4
            for moved in promotion.promote(self.connection, to, waited, silent_seconds=10):
                assert self.now - self.arrived[moved.id] >= MAX_WAIT * quarters / 4
                for line in self.lines.values():
                    if moved.id in line:
                        line.remove(moved.id)
                self.lines[to].append(moved.id)
        while len(self.running) < self.slots and self._take():
            pass

    def _take(self) -> bool:
        for queue in QUEUES_BY_URGENCY:
            if self.lines[queue]:
                task_id = self.lines[queue].pop(0)
                types = ["simulated_work"]
                assert attempts.claim(self.connection, task_id, queue, "one@test/1", 15, types)
                task = tasks.get(self.connection, task_id)
                assert task is not None
                self.waited[task_id] = self.now - self.arrived[task_id]
                self.running.append((task, self.now + self.duration))
                return True
        return False


PATIENT = st.lists(
    st.tuples(st.integers(0, MAX_WAIT), st.sampled_from([Priority.LOW, Priority.MEDIUM])),
    min_size=1,
    max_size=12,
)


@pytest.mark.timeout(900)
@settings(
    max_examples=200 if LONG else 8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    slots=st.sampled_from([1, 2, 4]),
    duration=st.integers(1, 3),
    flood=st.sampled_from([0.1, 0.5, 1]),
    patient=PATIENT,
)
def test_under_any_flood_each_task_starts_in_time_and_half_of_the_slots_keep_the_order(
    shared_database: Database,
    slots: int,
    duration: int,
    flood: float,
    patient: list[tuple[int, Priority]],
) -> None:
    # How many HIGH tasks wait at any time, up to as many as the slots can run in the longest wait.
    line = int(flood * slots * MAX_WAIT / duration)
    share = max(1, slots // 2)
    # As many as that share can start in the last quarter, one after another.
    patient = patient[: share * (MAX_WAIT // 4 // (2 * duration + 1))]
    with shared_database.engine.connect() as connection:
        workers.beat(connection, "one@test", slots)
        world = Simulation(connection, slots, duration)
        coming = sorted(patient, key=lambda arrival: arrival[0])
        ours: set[int] = set()
        while coming or not ours <= world.waited.keys():
            while coming and coming[0][0] <= world.now:
                ours.add(world.arrive(coming.pop(0)[1]))
            while len(world.lines[QueueName.HIGH]) < line:
                world.arrive(Priority.HIGH)
            world.tick()

            raised = [t for t, _ in world.running if t.queue is not queue_for(t.priority)]
            assert len(raised) <= 3 * share
            assert len([t for t in raised if t.queue is QueueName.OVERDUE]) <= share
            overtime = {
                task_id: world.now - world.arrived[task_id]
                for task_id in ours - world.waited.keys()
                if world.now - world.arrived[task_id] > MAX_WAIT
            }
            assert not overtime
        connection.rollback()


def test_a_low_task_starts_within_the_longest_wait_under_an_endless_flood(
    worker_lab: Lab,
) -> None:
    # A quarter of it is for the tasks that overdue ones wait for, and for rounds of half a second.
    longest = 12.0
    worker_lab.service.settings |= {"MAX_WAIT_SECONDS": str(longest), "WORKER_CONCURRENCY": "2"}
    worker_lab.service.start_worker()
    stop = threading.Event()

    # A line so long that to join its end would be no help.
    for _ in range(200):
        worker_lab.add("sleep", priority=Priority.HIGH, seconds=0.1)

    def flood() -> None:
        # Twice what two slots can run, so that the line of HIGH tasks grows without end.
        while not stop.wait(0.1):
            for _ in range(2):
                worker_lab.add("sleep", priority=Priority.HIGH, seconds=0.1)

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        wait_for(lambda: len(worker_lab.ledger.started()) > 20, 20, "the flood runs")
        added_at = time.monotonic()
        low = [worker_lab.add("sleep", priority=Priority.LOW) for _ in range(3)]
        for task_id in low:
            wait_for(lambda t=task_id: worker_lab.ledger.words(t), longest + 2, "it started")
        started = {e.task_id: e.at for e in worker_lab.ledger.entries() if e.word == "started"}
        waited = [started[task_id] - added_at for task_id in low]
    finally:
        stop.set()
        flooding.join()

    figure(f"a LOW task's wait under a flood, of at most {longest:g} s", max(waited))
    assert max(waited) < longest
    # Not before its time either: until then the order was strict.
    assert min(waited) > longest / 2
    # And each of the flood that started meanwhile had come before those that had not.
    order = [e.task_id for e in worker_lab.ledger.entries() if e.word == "started"]
    urgent = [task_id for task_id in order if task_id not in low]
    # One that a slot has taken may begin a moment after what the other slot took next.
    overtaken = [
        sum(other < task_id for other in urgent[place:]) for place, task_id in enumerate(urgent)
    ]
    assert max(overtaken) < 2
