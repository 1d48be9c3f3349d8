"""The API killed in a burst of POSTs: what was answered is kept, and nothing is half there."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx
import pytest

from tests.faults.conftest import LONG
from tests.faults.evidence import chance, rows, timelines, wait_until_final
from tests.lab import Lab
from tests.support import wait_for

CLIENTS = 8
PRIORITIES = ("LOW", "MEDIUM", "HIGH")

pytestmark = pytest.mark.timeout(900 if LONG else 120)


@dataclass
class Burst:
    """What the clients saw. A list's append is safe between threads."""

    url: str
    # By id, what was sent and promised.
    promised: dict[int, tuple[str, str]] = field(default_factory=dict)
    # Sent, and the connection was lost before an answer: each may or may not be there.
    unknown: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def send(self, client_name: str, is_over: Callable[[], bool]) -> None:
        """Create tasks on one connection until told to end."""
        with httpx.Client(base_url=self.url, timeout=15) as client:
            number = 0
            while not is_over():
                number += 1
                self._create(client, f"{client_name} {number}", PRIORITIES[number % 3])

    def _create(self, client: httpx.Client, title: str, priority: str) -> None:
        try:
            answer = client.post("/tasks/", json={"title": title, "priority": priority})
        except httpx.ConnectError:
            # Nothing was sent; the pause keeps the loop from turning idly until the API is back.
            threading.Event().wait(0.01)
        except httpx.TransportError:
            self.unknown.append(title)
        else:
            if answer.status_code == HTTPStatus.CREATED:
                self.promised[answer.json()["id"]] = (title, priority)
            else:
                self.errors.append(f"{answer.status_code} {answer.text}")


def test_an_api_killed_in_a_burst_keeps_what_it_answered_and_halves_nothing(
    worker_lab: Lab,
) -> None:
    random = chance("kills of the API")
    service = worker_lab.service
    service.settings |= {"SIMULATED_WORK_SECONDS": "0", "WORKER_CONCURRENCY": "4"}
    # With the ledger also for tasks that clients have posted.
    service.worker_app = "tests.faults.worker_app"
    burst = Burst(service.url)
    kills = 10 if LONG else 2
    for round_number in range(kills):
        has_ended = threading.Event()
        clients = [
            threading.Thread(target=burst.send, args=(f"{round_number}.{n}", has_ended.is_set))
            for n in range(CLIENTS)
        ]
        seen = len(burst.promised)
        for client in clients:
            client.start()
        try:
            wait_for(lambda seen=seen: len(burst.promised) > seen + 30, 20, "the burst is on")
            has_ended.wait(random.uniform(0, 0.3))
            service.kill("api")
            # They go on sending, and the first requests meet an API that has just begun.
            service.start_api()
            seen = len(burst.promised)
            wait_for(lambda seen=seen: len(burst.promised) > seen + 30, 20, "the API is back")
        finally:
            has_ended.set()
            for client in clients:
                client.join()

    assert burst.errors == []
    service.start_worker()
    there = rows(worker_lab)
    assert burst.promised.keys() <= there.keys()
    # Each request made one row at most: no promised one is there twice.
    titles = {task_id: row.title for task_id, row in there.items()}
    assert len(set(titles.values())) == len(titles)
    assert set(titles.values()) <= {title for title, _ in burst.promised.values()} | set(
        burst.unknown
    )

    ended = wait_until_final(worker_lab, there.keys(), 60)
    lines = timelines(worker_lab)
    assert lines.keys() == ended.keys()
    words: dict[int, list[str]] = {task_id: [] for task_id in ended}
    for entry in worker_lab.ledger.entries():
        words[entry.task_id].append(entry.word)
    for task_id, row in ended.items():
        assert (task_id, row.status, row.attempt) == (task_id, "COMPLETED", 1)
        names = lines[task_id].names()
        assert [name for name in names if name != "dispatched"] == [
            "created",
            "claimed",
            "completed",
        ], (task_id, names)
        assert names[0] == "created"
        assert words[task_id] == ["started", "finished"]
        if task_id in burst.promised:
            assert (row.title, row.priority) == burst.promised[task_id]
    print(
        f"{kills} kills: {len(burst.promised)} promised, {len(burst.unknown)} unanswered,"
        f" {len(ended)} there"
    )
    # Otherwise the kills hit nothing in flight, and the test says nothing.
    assert burst.unknown
