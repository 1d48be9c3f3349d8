"""What the database and the logs say after a fault, for verdicts over many tasks at once.

All times are seconds by the database's clock, so that they can be subtracted from each other.
"""

import os
import random
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from tests.lab import Lab
from tests.service import FINAL
from tests.support import wait_for


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a task's timeline."""

    name: str
    status: str
    attempt: int
    detail: str | None
    at: float


class Timeline(list[Event]):
    """A task's lines in their order."""

    def names(self) -> list[str]:
        return [event.name for event in self]

    def the(self, name: str, attempt: int | None = None) -> Event:
        """Return the only line of this name, or of this name and attempt."""
        (event,) = [
            event for event in self if event.name == name and attempt in (None, event.attempt)
        ]
        return event

    def after(self, event: Event) -> "Timeline":
        """Return what follows a line."""
        return Timeline(self[self.index(event) + 1 :])


_EVENTS = text(
    "SELECT task_id, event, status, attempt, detail, extract(epoch FROM at)::float"
    " FROM task_events ORDER BY id"
)


def timelines(lab: Lab) -> dict[int, Timeline]:
    """Return every task's timeline."""
    found: defaultdict[int, Timeline] = defaultdict(Timeline)
    with lab.database.transaction() as connection:
        for task_id, *event in connection.execute(_EVENTS):
            found[task_id].append(Event(*event))
    return found


def timeline(lab: Lab, task_id: int) -> Timeline:
    """Return one task's timeline."""
    return timelines(lab)[task_id]


def rows(lab: Lab) -> dict[int, Any]:
    """Return every task's row."""
    with lab.database.transaction() as connection:
        return {row.id: row for row in connection.execute(text("SELECT * FROM tasks"))}


def now(lab: Lab) -> float:
    """Return the time."""
    with lab.database.transaction() as connection:
        query = text("SELECT extract(epoch FROM clock_timestamp())::float")
        return float(connection.execute(query).scalar_one())


def lease_end(lab: Lab, task_id: int) -> float:
    """Return when a running task's lease lapses."""
    return float(rows(lab)[task_id].lease_expires_at.timestamp())


def wait_until_final(lab: Lab, tasks: Collection[int], seconds: float) -> dict[int, Any]:
    """Wait until all these tasks have ended; return every task's row."""
    query = text(
        "SELECT id, status, attempt FROM tasks"
        " WHERE id = ANY(:ids) AND NOT status = ANY(:final) ORDER BY id LIMIT 5"
    )

    def unfinished() -> list[Any]:
        with lab.database.transaction() as connection:
            return list(connection.execute(query, {"ids": list(tasks), "final": list(FINAL)}))

    try:
        wait_for(lambda: not unfinished(), seconds, f"{len(tasks)} tasks have ended")
    except AssertionError as error:
        raise AssertionError(f"{error}; among the others: {unfinished()}") from None
    return rows(lab)


def cancel(lab: Lab, task_id: int) -> int:
    """Ask for a task's cancel over HTTP; return the status code."""
    with lab.service.client() as client:
        return client.post(f"/tasks/{task_id}/cancel").status_code


def error_lines(lab: Lab, *names: str, expected: Iterable[str] = ()) -> list[str]:
    """Return what these processes logged as an error or worse, but for lines with these words."""
    return [
        f"{name}: {line}"
        for name in names
        for line in lab.service.log(name).splitlines()
        if re.search(r" (ERROR|CRITICAL) |^Exception |^Fatal ", line)
        and not any(words in line for words in expected)
    ]


def chance(name: str) -> random.Random:
    """Return a source of random numbers whose seed is printed; FAULT_SEED repeats a run."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
    print(f"FAULT_SEED={seed} repeats {name}")
    return random.Random(seed)
