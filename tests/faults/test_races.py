"""Clients that change, cancel and delete tasks in the very moment in which workers run them."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

import httpx
import pytest
from sqlalchemy import text

from app.db import attempts, creation, tasks
from app.db.engine import Database
from app.domain.priority import Priority, QueueName
from app.domain.status import Status
from app.domain.task import NewTask
from app.services.lifecycle import maintenance
from app.settings import Settings
from tests.faults.conftest import LONG
from tests.faults.evidence import chance, error_lines, rows, timelines, wait_until_final
from tests.faults.figures import figure
from tests.lab import Lab
from tests.support import wait_for

# What each request may be answered while a task is there; 404 once it may have been deleted.
ALLOWED = {
    "GET": {200},
    "PUT": {200},
    "DELETE": {204},
    "cancel": {200, 202, 409},
}

# Without each of these nothing has raced.
RACED = {"cancel 202", "cancel 409", "DELETE 204", "PUT 404", "GET 404"}
ROUNDS = 150 if LONG else 10

pytestmark = pytest.mark.timeout(900 if LONG else 180)


@dataclass
class Victim:
    """One task and what its clients were told about it. Each list has one writer at a time."""

    task_id: int
    kind: str
    # The title and the priority that the latest PUT answered.
    put: tuple[str, str] | None = None
    cancels: list[int] = field(default_factory=list)
    # Since when nobody may find it any more, by time.monotonic().
    deleted_at: float | None = None
    is_to_be_deleted: bool = False


@dataclass
class Race:
    """The clients. Their complaints are what no client should ever see."""

    lab: Lab
    client: httpx.Client
    random: Random
    victims: list[Victim] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self) -> list[Callable[[], None]]:
        """Start a task; return what its clients do, each in a thread of its own."""
        kind = "fails_twice" if self.random.random() < 0.15 else "sleep"
        task_id = self.lab.add(
            kind,
            priority=self.random.choice(list(Priority)),
            max_attempts=3 if kind == "fails_twice" else 1,
            seconds=self.random.uniform(0, self.random.choice([0.02, 0.02, 0.4])),
        )
        self.lab.publish(task_id)
        victim = Victim(task_id, kind)
        self.victims.append(victim)
        clients = [lambda: self.put(victim), lambda: self.get(victim)]
        if self.random.random() < 0.25:
            clients.append(lambda: self.cancel(victim))
        if self.random.random() < 0.25:
            victim.is_to_be_deleted = True
            clients.append(lambda: self.delete(victim))
        return clients

    def put(self, victim: Victim) -> None:
        for number in range(4):
            body = {
                "title": f"title {number} of {victim.task_id}",
                "priority": self.random.choice(list(Priority)).value,
            }
            if number == 1:
                del body["title"]
            answer = self._ask(victim, "PUT", "", json=body)
            if answer.status_code == 200:
                task = answer.json()
                victim.put = (task["title"], task["priority"])
                if not body.items() <= task.items():
                    self.complaints.append(f"PUT {body} was answered {task}")

    def get(self, victim: Victim) -> None:
        for _ in range(3):
            self._ask(victim, "GET", "")

    def cancel(self, victim: Victim) -> None:
        for _ in range(2):
            victim.cancels.append(self._ask(victim, "POST", "/cancel").status_code)

    def delete(self, victim: Victim) -> None:
        if self._ask(victim, "DELETE", "").status_code == 204:
            victim.deleted_at = time.monotonic()
        self._ask(victim, "DELETE", "")

    def _ask(self, victim: Victim, method: str, path: str, **body: object) -> httpx.Response:
        threading.Event().wait(self.random.uniform(0, 0.03))
        asked_at, was_deleted = time.monotonic(), victim.deleted_at
        answer = self.client.request(method, f"/tasks/{victim.task_id}{path}", **body)
        request = path.lstrip("/") or method
        allowed = ALLOWED[request] | ({404} if victim.is_to_be_deleted else set())
        if was_deleted is not None and was_deleted < asked_at:
            allowed = {404}
        if answer.status_code not in allowed:
            self.complaints.append(
                f"{request} {victim.task_id}: {answer.status_code} {answer.text}; {allowed}"
            )
        with self._lock:
            self.answers[f"{request} {answer.status_code}"] += 1
        return answer


def test_changes_racing_with_workers_make_no_ghost_and_no_error(worker_lab: Lab) -> None:
    random = chance("the races")
    service = worker_lab.service
    service.settings["WORKER_CONCURRENCY"] = "4"
    for name in ("first", "second"):
        service.start_worker(name)
    began_at = time.monotonic()
    with service.client() as client, ThreadPoolExecutor(24) as threads:
        race = Race(worker_lab, client, random)
        for number in range(6 * ROUNDS):
            # Which answers come is chance, too.
            if number >= ROUNDS and race.answers.keys() >= RACED:
                break
            # So few at a time that they run while their clients ask.
            clients = [step for _ in range(16) for step in race.add()]
            random.shuffle(clients)
            for done in [threads.submit(step) for step in clients]:
                done.result()
    left = [victim for victim in race.victims if victim.deleted_at is None]
    wait_until_final(worker_lab, [victim.task_id for victim in left], 60)
    figure(f"{race.answers.total()} requests racing with workers", time.monotonic() - began_at)
    print(dict(sorted(race.answers.items())))

    assert race.complaints == []
    # Looked at when nobody is left who could write, so that no ghost can come later.
    assert [service.stop(name) for name in ("first", "second")] == [0, 0]
    ended, events = rows(worker_lab), timelines(worker_lab)
    assert ended.keys() == events.keys() == {victim.task_id for victim in left}
    words: dict[int, list[str]] = {victim.task_id: [] for victim in race.victims}
    for entry in worker_lab.ledger.entries():
        words[entry.task_id].append(f"{entry.attempt} {entry.word}")
    for victim in left:
        row = ended[victim.task_id]
        what = (victim, row.status, row.attempt, words[row.id], events[row.id].names())
        assert (row.title, row.priority) == victim.put, what
        if set(victim.cancels) & {200, 202}:
            assert row.status == "CANCELLED", what
        else:
            attempts_made = 3 if victim.kind == "fails_twice" else 1
            assert (row.status, row.attempt) == ("COMPLETED", attempts_made), what
            started = [f"{attempt} started" for attempt in range(1, attempts_made + 1)]
            assert words[row.id] == [*started, f"{attempts_made} finished"], what
    assert worker_lab.ledger.overlaps() == []
    assert error_lines(worker_lab, "api", "first", "second") == []
    assert race.answers.keys() >= RACED


def test_a_crash_noted_in_the_midst_of_a_cancel_is_not_forgotten(
    database: Database, settings: Settings
) -> None:
    worker = "node@test/1"
    with database.transaction() as connection:
        new = NewTask("a task", None, Priority.MEDIUM, "sleep", {}, 1)
        task_id = creation.insert_task(connection, new).id
        neighbour = creation.insert_task(connection, new).id
        for claimed, by in ((task_id, worker), (neighbour, "node@test/2")):
            assert attempts.claim(connection, claimed, QueueName.MEDIUM, by, 60, ["sleep"])
    rescue = threading.Thread(target=maintenance.rescue_from, args=(database, worker, settings))
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def is_waiting() -> bool:
        with database.transaction() as connection:
            return bool(connection.execute(waiting).scalar_one())

    with database.transaction() as connection:
        assert tasks.lock(connection, task_id)
        rescue.start()
        wait_for(is_waiting, 3, "the rescue waits for the cancel")
        assert tasks.request_cancel(connection, task_id)
    rescue.join()

    with database.transaction() as connection:
        after = [tasks.get(connection, one) for one in (task_id, neighbour)]
    assert [task.status for task in after if task] == [Status.CANCELLED, Status.IN_PROGRESS]
