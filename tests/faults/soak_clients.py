"""What people do to the service all through a soak, and what they were told.

An answer that never came, because the API was killed, or a 503 leaves open whether the request was
carried out; such tasks are kept apart, and either end is right for them.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from app.domain.priority import Priority
from app.errors import Unavailable
from tests.faults.load import is_honest_503
from tests.lab import Lab

# Types that no route creates, how often each comes, and what it is told.
KINDS: dict[str, tuple[int, dict[str, float]]] = {
    "sleep": (10, {"seconds": 0.8}),
    "cpu_loop": (5, {"seconds": 0.4}),
    "swallows_exceptions": (5, {"seconds": 0.6}),
    "fails_twice": (5, {}),
    "gives_up": (3, {}),
    "exits": (3, {}),
    "dies_once": (2, {}),
    "poison": (1, {}),
    "holds_interpreter_at_first": (1, {}),
}


@dataclass
class Said:
    """Which tasks were answered how."""

    created: set[int] = field(default_factory=set)
    cancelled: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    perhaps_cancelled: set[int] = field(default_factory=set)
    perhaps_deleted: set[int] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


class Clients:
    """A few threads, each with a pause between two requests."""

    def __init__(self, lab: Lab, chance: random.Random) -> None:
        self._lab = lab
        self._chance = chance
        self._over = threading.Event()
        self.said = Said()

    @contextmanager
    def at_work(self, pause: float) -> Iterator[None]:
        """Let them work while the block lasts."""
        steps = [self._post, self._post, self._touch, self._add]
        threads = [threading.Thread(target=self._repeat, args=(step, pause)) for step in steps]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def pause(self, seconds: float) -> None:
        """Wait while they work."""
        self._over.wait(seconds)

    def _repeat(self, step: Callable[[httpx.Client], None], pause: float) -> None:
        with httpx.Client(base_url=self._lab.service.url, timeout=30) as client:
            while not self._over.wait(self._chance.uniform(0.5, 1.5) * pause):
                try:
                    step(client)
                except Exception as error:
                    self.said.complaints.append(f"{step.__name__}: {error!r}")

    def _post(self, client: httpx.Client) -> None:
        path = self._chance.choices(("/tasks/", "/tasks/retry", "/tasks/broken"), (8, 1, 1))[0]
        body = {"title": "стойкость", "priority": self._chance.choice(list(Priority))}
        if path == "/tasks/retry":
            body["retry_count"] = 1
        answer = self._ask(client, "POST", path, {201}, body)
        if answer is not None and answer.status_code == 201:
            self.said.created.add(answer.json()["id"])

    def _touch(self, client: httpx.Client) -> None:
        """Read, change, cancel or delete a task, mostly one that has not ended yet."""
        created = sorted(self.said.created)
        if not created:
            return
        among = created[-15:] if self._chance.random() < 0.8 else created
        task_id = self._chance.choice(among)
        path = f"/tasks/{task_id}"
        match self._chance.choice(("read", "change", "cancel", "delete")):
            case "read":
                self._ask(client, "GET", path, {200, 404})
            case "change":
                body = {"priority": self._chance.choice(list(Priority)), "title": "изменена"}
                self._ask(client, "PUT", path, {200, 404}, body)
            case "cancel":
                self.said.perhaps_cancelled.add(task_id)
                answer = self._ask(client, "POST", f"{path}/cancel", {200, 202, 404, 409})
                if answer is not None and answer.status_code in {200, 202}:
                    self.said.cancelled.add(task_id)
            case _:
                self.said.perhaps_deleted.add(task_id)
                answer = self._ask(client, "DELETE", path, {204, 404})
                if answer is not None and answer.status_code in {204, 404}:
                    self.said.deleted.add(task_id)

    def _add(self, client: httpx.Client) -> None:
        weights = [weight for weight, _ in KINDS.values()]
        kind = self._chance.choices(list(KINDS), weights)[0]
        priority = self._chance.choice(list(Priority))
        attempts = 3 if kind == "fails_twice" else 1
        try:
            task_id = self._lab.add(
                kind, priority=priority, max_attempts=attempts, **KINDS[kind][1]
            )
        except Unavailable:
            self.said.answers["add: no database"] += 1
            return
        self.said.created.add(task_id)

    def _ask(
        self,
        client: httpx.Client,
        method: str,
        path: str,
        expected: set[int],
        body: object = None,
    ) -> httpx.Response | None:
        try:
            answer = client.request(method, path, json=body)
        except httpx.TransportError:
            # The API was killed under it.
            self.said.answers[f"{method}: none"] += 1
            return None
        self.said.answers[f"{method}: {answer.status_code}"] += 1
        if answer.status_code == 503:
            if not is_honest_503(answer):
                self.said.complaints.append(f"{method} {path}: {answer.headers} {answer.text}")
        elif answer.status_code not in expected:
            self.said.complaints.append(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer
