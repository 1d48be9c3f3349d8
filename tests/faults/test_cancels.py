"""Cancels at every point of a task's life: an accepted one ends CANCELLED and hits nobody else."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import pytest

from app.domain.priority import Priority
from app.settings import Settings
from tests.faults.conftest import LONG
from tests.faults.evidence import (
    Timeline,
    cancel,
    chance,
    error_lines,
    timeline,
    timelines,
    wait_until_final,
)
from tests.faults.figures import figure
from tests.lab import Lab
from tests.support import wait_for

# Where a signal reaches Python code, and where nothing but a kill helps.
GENTLE = ["sleep", "socket_wait", "cpu_loop", "child_process", "swallows_exceptions"]
DEAF = ["swallows_everything", "deaf_c_call"]
# What the service promises, in seconds from the accepted cancel.
GENTLE_SECONDS = 1.5
AFTER_GRACE_SECONDS = 1.0
# Relative to it, so that the short form has a shorter one.
GRACE_SECONDS: float = Settings.model_fields["cancel_grace_seconds"].default if LONG else 2.0
# A task whose process died is found again within this time, and cancelled then.
AFTER_A_CHILD_SECONDS = 5.0

pytestmark = pytest.mark.timeout(900 if LONG else 240)


def test_a_cancel_stops_every_kind_of_code_and_no_neighbour(worker_lab: Lab) -> None:
    worker_lab.service.settings |= {
        "WORKER_CONCURRENCY": "4",
        "CANCEL_GRACE_SECONDS": str(GRACE_SECONDS),
    }
    worker_lab.service.start_worker()
    neighbours = [worker_lab.start("sleep", seconds=GRACE_SECONDS + 3)]
    deaf = [worker_lab.start(kind, seconds=60) for kind in DEAF]
    for task_id in deaf:
        assert cancel(worker_lab, task_id) == 202
    for kind in GENTLE:
        task_id = worker_lab.start(kind, seconds=60)
        assert cancel(worker_lab, task_id) == 202
        worker_lab.service.wait_until(task_id, "CANCELLED", seconds=5)
        assert stopped_within(worker_lab, task_id, kind) < GENTLE_SECONDS
        # Once more changes nothing.
        assert cancel(worker_lab, task_id) == 200
        neighbours.append(worker_lab.start("sleep"))
    for kind, task_id in zip(DEAF, deaf, strict=True):
        worker_lab.service.wait_until(task_id, "CANCELLED", seconds=GRACE_SECONDS + 3)
        limit = GRACE_SECONDS + AFTER_GRACE_SECONDS
        assert stopped_within(worker_lab, task_id, kind) < limit

    ended = wait_until_final(worker_lab, neighbours, 20)
    for task_id in neighbours:
        assert (ended[task_id].status, ended[task_id].attempt) == ("COMPLETED", 1)
        assert worker_lab.ledger.words(task_id) == ["1 started", "1 finished"]


def stopped_within(lab: Lab, task_id: int, kind: str) -> float:
    """Return the seconds from a running task's accepted cancel to its end, as one attempt."""
    events = timeline(lab, task_id)
    assert events.names()[-3:] == ["claimed", "cancel_requested", "cancelled"]
    assert lab.ledger.words(task_id) == ["1 started"]
    took = stopping_seconds(events)
    figure(f"cancel of {kind}", took)
    return took


def stopping_seconds(events: Timeline) -> float:
    return events.the("cancelled").at - events.the("cancel_requested").at


# -- A crowd ------------------------------------------------------------------------------------

# Weights among the tasks that are to be cancelled. What never ends by itself is in it because a
# cancel that is refused or lost then shows, and what fails or crashes because it waits in between.
CROWD = {
    "sleep": 40,
    "socket_wait": 10,
    "cpu_loop": 6,
    "child_process": 8,
    "swallows_exceptions": 10,
    "fails_twice": 16,
    "dies_once": 6,
    "swallows_everything": 3,
    "deaf_c_call": 1,
}


@dataclass
class Crowd:
    """Tasks of all kinds, half of them cancelled at some moment. Dictionaries are thread-safe."""

    lab: Lab
    client: httpx.Client
    random: Random
    grace_seconds: float
    kinds: dict[int, str] = field(default_factory=dict)
    codes: dict[int, list[int]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def left_alone(self) -> None:
        """Add a task that nobody cancels."""
        task_id = self._add("sleep", self.random.uniform(0, 0.3))
        self.lab.publish(task_id)

    def cancelled(self) -> None:
        """Add a task and cancel it: before its message, in the queue, as it runs or ends."""
        kind = self.random.choices(list(CROWD), list(CROWD.values()))[0]
        seconds = self.random.uniform(0, 0.6) if kind == "sleep" else 60
        task_id = self._add(kind, seconds)
        moment = self.random.choice(["stored", "waiting", "running", "running", "running"])
        if moment != "stored":
            self.lab.publish(task_id)
        if moment == "running":
            wait_for(lambda: self._has_started(task_id), 60, f"task {task_id} ({kind}) has begun")
        # A short one ends in the midst of this, one that fails waits for its next attempt.
        self._pause(2.0 if kind == "fails_twice" else 0.7)
        again = self.random.random() < 0.2
        self.codes[task_id] = [self._cancel(task_id) for _ in range(2 if again else 1)]

    def _add(self, kind: str, seconds: float) -> int:
        task_id = self.lab.add(
            kind,
            priority=self.random.choice(list(Priority)),
            max_attempts=3 if kind == "fails_twice" else 1,
            seconds=seconds,
        )
        self.kinds[task_id] = kind
        return task_id

    def _pause(self, longest: float) -> None:
        threading.Event().wait(self.random.uniform(0, longest))

    def _has_started(self, task_id: int) -> bool:
        return self.client.get(f"/tasks/{task_id}").json()["attempt"] > 0

    def _cancel(self, task_id: int) -> int:
        answer = self.client.post(f"/tasks/{task_id}/cancel")
        if answer.status_code not in {200, 202, 409}:
            self.complaints.append(f"task {task_id}: {answer.status_code} {answer.text}")
        return answer.status_code


def test_a_crowd_of_tasks_cancelled_at_random(worker_lab: Lab) -> None:
    random, grace_seconds = chance("the crowd"), 2
    worker_lab.service.settings |= {
        "WORKER_CONCURRENCY": "6",
        "CANCEL_GRACE_SECONDS": str(grace_seconds),
    }
    for name in ("first", "second"):
        worker_lab.service.start_worker(name)
    began_at = time.monotonic()
    with worker_lab.service.client() as client, ThreadPoolExecutor(16) as threads:
        crowd = Crowd(worker_lab, client, random, grace_seconds)
        steps = [crowd.cancelled, crowd.left_alone] * (2500 if LONG else 150)
        random.shuffle(steps)
        for step in [threads.submit(step) for step in steps]:
            step.result()
    ended = wait_until_final(worker_lab, crowd.kinds.keys(), 60)
    figure(f"{len(steps)} tasks, half of them cancelled", time.monotonic() - began_at)

    assert crowd.complaints == []
    assert len(ended) == len(steps)
    assert_all_as_answered(crowd, ended)
    assert_stopped_in_time(crowd)
    assert worker_lab.ledger.overlaps() == []
    # What kills its process on purpose, or is killed for it, is Celery's error and not ours.
    expected = ["WorkerLostError", "exited with"]
    assert error_lines(worker_lab, "api", "first", "second", expected=expected) == []


def assert_all_as_answered(crowd: Crowd, ended: dict[int, Any]) -> None:
    words: dict[int, list[str]] = {task_id: [] for task_id in ended}
    for entry in crowd.lab.ledger.entries():
        words[entry.task_id].append(f"{entry.attempt} {entry.word}")
    answers = Counter[str]()
    for task_id, row in ended.items():
        kind, codes = crowd.kinds[task_id], crowd.codes.get(task_id, [])
        what = (task_id, kind, codes, row.status, row.attempt, row.error_info, words[task_id])
        answers.update(map(str, codes[:1]))
        if not codes or codes[0] == 409:
            attempts = {"fails_twice": 3, "dies_once": 2}.get(kind, 1)
            assert (row.status, row.attempt) == ("COMPLETED", attempts), what
            started = [f"{attempt} started" for attempt in range(1, attempts + 1)]
            assert words[task_id] == [*started, f"{attempts} finished"], what
            assert set(codes) <= {409}, what
        else:
            assert row.status == "CANCELLED", what
            assert set(codes) <= {200, 202}, what
            assert len(set(words[task_id])) == len(words[task_id]), what
    print(f"answers to the first cancel: {dict(answers)}")
    # Otherwise not every point of a task's life was hit.
    assert answers.keys() >= {"200", "202", "409"}


def assert_stopped_in_time(crowd: Crowd) -> None:
    worst = Counter[str]()
    for task_id, events in timelines(crowd.lab).items():
        if "cancel_requested" in events.names():
            kind = crowd.kinds[task_id]
            worst[kind] = max(worst[kind], stopping_seconds(events))
    for kind, seconds in worst.items():
        figure(f"cancel of {kind} in the crowd", seconds)
    for kind, seconds in worst.items():
        limit = GENTLE_SECONDS
        if kind in DEAF:
            limit = crowd.grace_seconds + AFTER_GRACE_SECONDS
        elif kind == "dies_once":
            limit = AFTER_A_CHILD_SECONDS
        assert seconds < limit, kind
