"""Measures what retention deletes, and what that costs everybody else."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from app.db import retention
from app.services.lifecycle.retention import Retention
from benchmarks.scaling_report import median, say, table
from benchmarks.scaling_stage import Size, Stage, until

RUNNING = "SELECT count(*) FROM tasks WHERE completed_at > now() - interval '1 h'"


def keep(stage: Stage, size: Size) -> None:
    """What retention deletes, and what that costs the others."""
    stage.clear()
    stage.ended(size.rows)
    before, began_at, deleted = stage.counters(), time.monotonic(), 0
    while time.monotonic() < began_at + size.seconds:
        with stage.database.statement() as connection:
            deleted += retention.delete_ended(connection, 7 * 86_400, 200)
    flat_out = deleted / (time.monotonic() - began_at)
    each = {name: (now - before[name]) / deleted for name, now in stage.counters().items()}
    found: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for on in [False, True] * size.rounds:
        # Longer than a commit's worth of other people's noise, and each beside its counterpart.
        with stage.api(), deleting(stage, found) if on else ExitStack():
            load = stage.load(size.seconds)
        for name in ("rate", "p50", "p99"):
            found[name, on].append(load[name])
    stage.sql("DELETE FROM tasks WHERE completed_at IS NULL")
    stage.redis.flushall()
    backlog = stage.waiting(int(size.seconds * size.rounds * 2 * 2500))
    stage.publish(backlog)
    with stage.workers():
        until(lambda: stage.number(RUNNING) > 0, 60)
        for on in [False, True] * size.rounds:
            with deleting(stage, found) if on else ExitStack():
                time.sleep(size.seconds)
                since = f"completed_at > now() - interval '{size.seconds} s'"
                count = stage.number(f"SELECT count(*) FROM tasks WHERE {since}")
            found["runs", on].append(count / size.seconds)
    say(f"### Retention, beside {size.rows:,} ended tasks with their history\n")
    say(
        f"With nothing else to do and without a break it deletes {flat_out:,.0f} tasks a second;"
        f" each costs PostgreSQL {each['processor ms, PostgreSQL']:.3f} ms of processor time and"
        f" {each['WAL bytes']:,.0f} bytes of WAL.\n"
    )
    names = {
        "rate": "POST, 16 connections, a second",
        "p50": "its p50, ms",
        "p99": "its p99, ms",
        "runs": "no-op tasks run a second, one worker",
    }
    rows = [[names[n], median(found[n, False]), median(found[n, True])] for n in names]
    rows.append(["deleted a second", 0, median(found["deleted", True])])
    table(["", "without", "with retention"], rows)
    say()


@contextmanager
def deleting(stage: Stage, found: dict[tuple[str, bool], list[float]]) -> Iterator[None]:
    """Let retention do its steps as a worker's rounds do, twice a second."""
    ended = "SELECT count(*) FROM tasks WHERE completed_at < now() - interval '7 d'"
    before, began_at, stop = stage.number(ended), time.monotonic(), threading.Event()
    keeper = Retention(stage.settings)

    def run() -> None:
        while not stop.wait(stage.settings.maintenance_interval_seconds):
            keeper.step(stage.database)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        seconds = time.monotonic() - began_at
        found["deleted", True].append((before - stage.number(ended)) / seconds)
