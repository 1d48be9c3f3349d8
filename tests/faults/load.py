"""Clients that use the API all the time while a fault is made, and remember every answer."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from tests.service import Service

# In seconds: far longer than the service may take, so that its own bound is what is measured.
_CLIENT_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request came to. `at` is when it was asked, by time.monotonic()."""

    request: str
    task_id: int | None
    status: int
    seconds: float
    at: float


class Load:
    """Posting, reading and cancelling clients, each in a thread of its own.

    May run several times, as for several faults; `worst` and `latest` are about the last time.
    """

    def __init__(self, service: Service, chance: random.Random) -> None:
        self._service = service
        self._chance = chance
        self._has_ended = threading.Event()
        self._before = 0
        self.answers: list[Answer] = []
        # Answers that were not as they should be, and clients that got none at all.
        self.complaints: list[str] = []

    @contextmanager
    def running(self, *, posters: int = 2, others: int = 1, pause: float = 0.15) -> Iterator[None]:
        """Let clients work while the block lasts, each with about `pause` seconds in between."""
        steps = [self._post] * posters + [self._read, self._cancel] * others
        self._before = len(self.answers)
        self._has_ended.clear()
        threads = [
            threading.Thread(target=self._repeat, args=(step, pause), name=step.__name__)
            for step in steps
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._has_ended.set()
            for thread in threads:
                thread.join()

    def pause(self, seconds: float) -> None:
        """Let the clients do their work for a while."""
        assert not self._has_ended.wait(seconds)

    @property
    def created(self) -> list[int]:
        """The tasks whose creation a client was answered with 201."""
        return [a.task_id for a in list(self.answers) if a.status == 201 and a.task_id is not None]

    def ids(self, request: str, *statuses: int) -> set[int]:
        """Return the tasks for which this request was answered so."""
        return {
            answer.task_id
            for answer in self.answers
            if answer.request == request and answer.status in statuses and answer.task_id
        }

    @property
    def latest(self) -> list[Answer]:
        """The answers of the last run."""
        return self.answers[self._before :]

    def worst(self) -> Answer:
        """Return the answer that took longest."""
        return max(self.latest, key=lambda answer: answer.seconds)

    def summary(self) -> str:
        """Return how often each request was answered how."""
        count = Counter(f"{answer.request} {answer.status}" for answer in self.latest)
        return ", ".join(f"{what}: {times}" for what, times in sorted(count.items()))

    def _repeat(self, step: Callable[[httpx.Client], None], pause: float) -> None:
        with httpx.Client(base_url=self._service.url, timeout=_CLIENT_TIMEOUT) as client:
            while not self._has_ended.wait(self._chance.uniform(0.5, 1.5) * pause):
                try:
                    step(client)
                except Exception as error:
                    self.complaints.append(f"{step.__name__}: {error!r}")

    def _post(self, client: httpx.Client) -> None:
        priority = self._chance.choice(["LOW", "MEDIUM", "HIGH"])
        body = {"title": "under load", "priority": priority}
        self._ask(client, "POST", "/tasks/", None, {201}, body)

    def _read(self, client: httpx.Client) -> None:
        if tasks := self.created:
            task_id = self._chance.choice(tasks)
            self._ask(client, "GET", f"/tasks/{task_id}", task_id, {200})

    def _cancel(self, client: httpx.Client) -> None:
        # A recent one, that may wait or run; one in three, so that most of them run to their end.
        if tasks := [task_id for task_id in self.created[-12:] if task_id % 3 == 0]:
            task_id = self._chance.choice(tasks)
            self._ask(client, "POST", f"/tasks/{task_id}/cancel", task_id, {200, 202, 409})

    def _ask(
        self,
        client: httpx.Client,
        method: str,
        path: str,
        task_id: int | None,
        expected: set[int],
        body: object = None,
    ) -> None:
        asked_at = time.monotonic()
        response = client.request(method, path, json=body)
        took = time.monotonic() - asked_at
        if response.status_code == 201:
            task_id = response.json()["id"]
        request = "cancel" if path.endswith("/cancel") else method
        self.answers.append(Answer(request, task_id, response.status_code, took, asked_at))
        if response.status_code == 503:
            if not is_honest_503(response):
                self.complaints.append(f"{request}: {response.headers} {response.text}")
        elif response.status_code not in expected:
            self.complaints.append(f"{request} {task_id}: {response.status_code} {response.text}")


def is_honest_503(response: httpx.Response) -> bool:
    """Return whether a 503 is a problem (RFC 9457), and says when to come again."""
    return (
        response.headers["content-type"] == "application/problem+json"
        and int(response.headers.get("retry-after", 0)) > 0
        and response.json()["status"] == 503
    )
