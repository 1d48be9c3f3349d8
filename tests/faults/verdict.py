"""What must hold after every fault: the ledger, the database and the clients' answers agree."""

import time
from collections import Counter, defaultdict
from typing import Any

import httpx

from tests.faults.evidence import rows, timelines
from tests.faults.load import Load
from tests.lab import Lab
from tests.service import FINAL
from tests.support import wait_for


def seconds_until_work_goes_on(lab: Lab, limit: float) -> float:
    """Return how long it takes from now to have a task accepted and done; fail after `limit`."""
    began_at = time.monotonic()
    created: list[int] = []

    def is_accepted() -> bool:
        try:
            with lab.service.client() as client:
                answer = client.post("/tasks/", json={"title": "a probe", "priority": "HIGH"})
        except httpx.TransportError:
            return False
        if answer.status_code == 201:
            created.append(answer.json()["id"])
        return bool(created)

    wait_for(is_accepted, limit, "a task is accepted again")
    wait_for(lambda: has_finished(lab, created[0]), limit, f"task {created[0]} is done")
    return time.monotonic() - began_at


def has_finished(lab: Lab, task_id: int) -> bool:
    """Return whether some attempt of a task has finished its work."""
    return any(word.endswith("finished") for word in lab.ledger.words(task_id))


def assert_consistent(lab: Lab, load: Load, seconds: float) -> dict[int, Any]:
    """Assert that every task ends in time, as clients and ledger say; return their rows.

    What nobody was promised, because its creation was answered with 503, may be there or not; if
    it is, then it is whole and ends like the others.
    """
    found = _all_ended(lab, seconds)
    words: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for entry in lab.ledger.entries():
        words[entry.task_id][f"{entry.attempt} {entry.word}"] += 1
    events = timelines(lab)
    assert load.complaints == []
    assert set(load.created) <= set(found) == set(events)
    assert lab.ledger.overlaps() == []

    accepted = load.ids("cancel", 200, 202)
    perhaps = load.ids("cancel", 503)
    for task_id, row in found.items():
        names = events[task_id].names()
        what = (task_id, row.status, row.attempt, dict(words[task_id]), names)
        # Nothing that these tests run fails, and nothing crashes three times.
        assert row.status in {"COMPLETED", "CANCELLED"}, what
        if task_id in accepted:
            assert row.status == "CANCELLED", what
        elif task_id not in perhaps:
            assert row.status == "COMPLETED", what
        if row.status == "COMPLETED":
            assert words[task_id][f"{row.attempt} finished"] == 1, what
        assert set(words[task_id].values()) <= {1}, what
        assert all(int(word.split()[0]) <= row.attempt for word in words[task_id]), what
        assert (names[0], names.count("claimed")) == ("created", row.attempt), what
    return found


def _all_ended(lab: Lab, seconds: float) -> dict[int, Any]:
    def unfinished() -> list[tuple[int, str, int]]:
        return [
            (row.id, row.status, row.attempt)
            for row in rows(lab).values()
            if row.status not in FINAL
        ]

    try:
        wait_for(lambda: not unfinished(), seconds, "every task has ended")
    except AssertionError as error:
        raise AssertionError(f"{error}; among the others: {unfinished()[:5]}") from None
    return rows(lab)
