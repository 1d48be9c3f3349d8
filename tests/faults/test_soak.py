"""The soak: load, faults by chance, and a verdict over every task. `make faults` makes it long.

SOAK_SECONDS sets its length, FAULT_SEED repeats a sequence of faults.
"""

import os
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import LONG
from tests.faults.evidence import chance, rows, timelines
from tests.faults.figures import figure
from tests.faults.servers import Plug, RedisPlug
from tests.faults.soak import (
    LONGEST_RECOVERY,
    WORKERS,
    Footprint,
    Soak,
    footprint,
    survivors,
    wait_until_idle,
)
from tests.faults.soak_clients import Clients, Said
from tests.faults.verdict import seconds_until_work_goes_on
from tests.lab import Lab, lab
from tests.service import FINAL
from tests.support import wait_for

SECONDS = float(os.environ.get("SOAK_SECONDS") or (660 if LONG else 12))
MEGABYTE = 2**20
# What a type ends as when nobody cancels it.
FAILS = {"gives_up", "exits", "poison", "broken"}


@pytest.fixture
def soak_lab(postgres_server: Plug, redis_server: RedisPlug, tmp_path: Path) -> Iterator[Lab]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with lab(
        postgres_server.url,
        redis_server.url,
        tmp_path,
        TMPDIR=str(temporary),
        WORKER_CONCURRENCY="3",
        # Shorter than usual, so that leases do lapse in a run of some minutes.
        LEASE_SECONDS="6",
        SOFT_SHUTDOWN_SECONDS="2",
        SIMULATED_WORK_SECONDS="0.01",
        TEST_LENGTHS="0.05 0.1 0.3 0.6 1.2",
    ) as own:
        own.service.worker_app = "tests.faults.worker_app"
        yield own


@pytest.mark.timeout(SECONDS + 600)
def test_whatever_is_pulled_out_nothing_is_lost_doubled_or_stuck(
    soak_lab: Lab, postgres_server: Plug, redis_server: RedisPlug, tmp_path: Path
) -> None:
    random = chance("the soak")
    clients = Clients(soak_lab, random)
    soak = Soak(soak_lab, postgres_server, redis_server, random, clients.pause)
    for name in WORKERS:
        soak.start_worker(name)
    seconds_until_work_goes_on(soak_lab, 20)
    before = footprint(soak)

    recoveries: list[tuple[float, str]] = []
    ends_at = time.monotonic() + SECONDS
    with clients.at_work(pause=0.5):
        while time.monotonic() < ends_at:
            soak.some_time(1, 4)
            name = soak.make_fault()
            recoveries.append((seconds_until_work_goes_on(soak_lab, LONGEST_RECOVERY), name))

    said = clients.said
    # Most of it is the backlog that the faults have left; what is stuck never ends.
    stuck = _unfinished_after(soak_lab, 400)
    found, words = rows(soak_lab), _words(soak_lab)
    lost = _lost(said, found)
    doubled = _doubled(soak, found, words)
    wrong = _wrong_ends(said, found) + _disagreements(found, words) + _ghosts(soak_lab, said, found)

    wait_until_idle(soak, 60)
    after = footprint(soak)
    wait_for(lambda: footprint(soak).advisory_locks == 0, 10, "no lock is held between rounds")
    exits = {name: soak_lab.service.stop(name) for name in ("api", *WORKERS)}
    left = [path.name for path in (tmp_path / "temporary").iterdir()]

    _report(soak, said, found, len(lost), len(doubled), len(stuck), max(recoveries))
    assert (lost, doubled, stuck, wrong, said.complaints) == ([], [], [], [], [])
    _assert_no_leak(before, after)
    # uvicorn ends by the signal itself, after it has shut down in order.
    assert exits == {"api": -signal.SIGTERM, **dict.fromkeys(WORKERS, 0)}
    assert survivors(soak_lab.service.settings["TEST_LEDGER"]) == []
    # One file a user, which says that a worker lives; and what billiard, Celery's process pool,
    # cannot remove when its main process is killed.
    assert [name for name in left if not re.search(r"\.alive$|^pymp-", name)] == []
    assert len([name for name in left if name.startswith("pymp-")]) <= soak.starts - len(WORKERS)


def _unfinished_after(lab: Lab, seconds: float) -> list[tuple[int, str, int]]:
    """Wait for every task to end; return those that have not by then."""

    def unfinished() -> list[tuple[int, str, int]]:
        found = rows(lab).values()
        return [(row.id, row.status, row.attempt) for row in found if row.status not in FINAL]

    deadline = time.monotonic() + seconds
    wait_for(lambda: not unfinished() or time.monotonic() > deadline, seconds + 10, "all ended")
    return unfinished()


def _words(lab: Lab) -> dict[int, Counter[str]]:
    words: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for entry in lab.ledger.entries():
        words[entry.task_id][f"{entry.attempt} {entry.word}"] += 1
    return words


def _lost(said: Said, found: dict[int, Any]) -> list[int]:
    return sorted(said.created - said.perhaps_deleted - found.keys())


def _doubled(
    soak: Soak, found: dict[int, Any], words: dict[int, Counter[str]]
) -> list[tuple[object, ...]]:
    """Return attempts that ran twice, ran beside another, or ran after their task had ended."""
    again = [
        (task_id, word)
        for task_id, counted in words.items()
        for word, times in counted.items()
        if times > 1
    ]
    late = [
        (task_id, word)
        for task_id, counted in words.items()
        for word in counted
        if task_id in found and int(word.split()[0]) > found[task_id].attempt
    ]
    # A process that is frozen still looks as if it ran, and runs for a moment when it wakes.
    beside = [
        (entry.task_id, entry.attempt, "overlaps")
        for entry in soak.lab.ledger.overlaps()
        if not any(since <= entry.at <= until for since, until in soak.freezes)
    ]
    return [*again, *late, *beside]


def _wrong_ends(said: Said, found: dict[int, Any]) -> list[tuple[object, ...]]:
    wrong: list[tuple[object, ...]] = []
    for row in found.values():
        if row.id in said.cancelled and row.id in found:
            right = row.status == "CANCELLED"
        elif row.status == "CANCELLED":
            right = row.id in said.perhaps_cancelled
        elif row.crashes >= 3:
            right = row.status == "FAILED" and "3 time(s)" in row.error_info
        else:
            right = row.status == ("FAILED" if row.type in FAILS else "COMPLETED")
        if not right:
            wrong.append((row.id, row.type, row.status, row.attempt, row.crashes, row.error_info))
    return wrong


def _disagreements(
    found: dict[int, Any], words: dict[int, Counter[str]]
) -> list[tuple[object, ...]]:
    """Return the COMPLETED tasks of which the ledger does not say so."""
    return [
        (row.id, row.status, row.attempt, dict(words[row.id]))
        for row in found.values()
        if row.status == "COMPLETED"
        and row.type not in {"retry", "broken"}
        and words[row.id][f"{row.attempt} finished"] != 1
    ]


def _ghosts(lab: Lab, said: Said, found: dict[int, Any]) -> list[tuple[object, ...]]:
    """Return deleted tasks that are still there, and rows and timelines without each other."""
    return [("deleted", task_id) for task_id in said.deleted & found.keys()] + [
        ("half there", task_id) for task_id in found.keys() ^ timelines(lab).keys()
    ]


def _assert_no_leak(before: Footprint, after: Footprint) -> None:
    # Each API thread, health's two, the dispatcher's one; each worker's two and two a process.
    assert after.connections <= 20 + 2 + 1 + 2 * (2 + 2 * 3), after
    assert after.processes == before.processes, (before, after)
    for name, files in after.files.items():
        assert files <= before.files[name] + 30, (name, before, after)
    for name, memory in after.memory_bytes.items():
        assert memory <= before.memory_bytes[name] * 1.25 + 20 * MEGABYTE, (name, before, after)


def _report(
    soak: Soak,
    said: Said,
    found: dict[int, Any],
    lost: int,
    doubled: int,
    stuck: int,
    longest: tuple[float, str],
) -> None:
    ends = Counter(row.status for row in found.values())
    attempts = sum(row.attempt for row in found.values())
    print(f"\n| soak of {SECONDS:g} s | |\n|---|---|")
    print(f"| tasks | {len(found)}, {dict(ends)}, in {attempts} attempts |")
    print(f"| answers | {dict(sorted(said.answers.items()))} |")
    print(f"| faults | {sum(soak.faults.values())}: {dict(soak.faults)} |")
    print(f"| lost, doubled, stuck | {lost}, {doubled}, {stuck} |")
    print(f"| longest recovery | {longest[0]:.1f} s, after: {longest[1]} |")
    figure(f"soak, longest recovery, after {longest[1]}", longest[0])
