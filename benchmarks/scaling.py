"""Measures what a task costs and how far the service scales here, and prints it as Markdown.

Run as `python -m benchmarks.scaling [SECTION ...]`, from the project's folder; a whole run takes a
quarter of an hour. docs/scaling.md holds one run's output. Nothing is compared with other services
here, and a figure holds only for the machine and the moment.
"""

import argparse
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from app.db import attempts
from app.domain.priority import QueueName
from app.services.lifecycle import maintenance
from app.services.lifecycle.lost_messages import LostMessages
from benchmarks.scaling_report import median, say, table
from benchmarks.scaling_retention import keep
from benchmarks.scaling_stage import ROOT, TABLES, Size, Stage, until

Figures = dict[Any, list[float]]


def cost(stage: Stage, size: Size) -> None:
    """What one task costs the servers, to create and to run."""
    columns: dict[str, dict[str, float]] = {}
    for connections in (1, 16):
        stage.clear()
        with stage.api():
            stage.clear()
            before, memory = stage.counters(), stage.redis.info("memory")["used_memory"]
            tasks = stage.load(size.seconds, connections)["count"]
            # The last ones are recorded as published.
            time.sleep(1)
            columns[f"created, {connections} at a time"] = per_task(stage, before, tasks)
            held = stage.connections()
        message = (stage.redis.info("memory")["used_memory"] - memory) / tasks
    stage.clear()
    with stage.workers():
        until(partial(stage.number, "SELECT count(*) FROM workers"), 60)
        messages = stage.waiting(size.backlog)
        before, tasks = stage.counters(), size.backlog
        stage.publish(messages)
        stage.wait_until_done()
        columns["run"] = per_task(stage, before, tasks)
        held |= stage.connections()
    say("### Cost of a task (no-op; one API process, one worker of two slots)\n")
    names = [*dict.fromkeys(name for column in columns.values() for name in column)]
    table(["", *columns], [[n, *(c.get(n, "") for c in columns.values())] for n in names])
    say(f"\nA waiting message takes {message:,.0f} bytes of Redis.\n")
    for how in ("VACUUM ANALYZE", "VACUUM FULL"):
        stage.sql(how)
        sizes = [
            (
                stage.number(f"SELECT pg_table_size('{name}')") / tasks,
                stage.number(f"SELECT pg_indexes_size('{name}')") / tasks,
            )
            for name in TABLES
        ]
        say(f"Bytes in PostgreSQL for a task that has run, after {how}:\n")
        rows: list[list[Any]] = [[n, *s] for n, s in zip(TABLES, sizes, strict=True)]
        rows.append(["together", *(sum(column) for column in zip(*sizes, strict=True))])
        table(["table", "rows", "indexes"], rows)
        say()
    say(f"Connections held: {held}\n")


def per_task(stage: Stage, before: dict[str, float], tasks: float) -> dict[str, float]:
    """Return what has been counted since, for one task."""
    now = stage.counters()
    return {name: (now[name] - before[name]) / tasks for name in now if name in before}


def idle(stage: Stage, size: Size) -> None:
    """What the service asks of the servers while nobody asks anything of it."""
    stage.clear()
    with stage.api(warm=False), stage.workers():
        time.sleep(8)
        before = stage.counters()
        time.sleep(10)
        after = stage.counters()
    say("### Idle: an API process and a worker of two slots, a second\n")
    names = [name for name in after if name in before and name != "commits"]
    table(names, [[(after[name] - before[name]) / 10 for name in names]])
    say()


def api(stage: Stage, size: Size) -> None:
    """New tasks a second by API processes, and by connections."""
    kinds = [(1, 1), (1, 4), (1, 16), (1, 64), (2, 16), (2, 64), (3, 16), (3, 64)]
    found: dict[Any, list[dict[str, float]]] = defaultdict(list)
    for _ in range(size.rounds):
        for processes in (1, 2, 3):
            stage.clear()
            with stage.api(processes):
                for kind in (kind for kind in kinds if kind[0] == processes):
                    found[kind].append(stage.load(size.seconds, kind[1]))
    say("### POST /tasks/ by API processes (no worker runs)\n")
    table(
        ["API processes", "connections", "a second", "p50, ms", "p99, ms"],
        [
            [
                *kind,
                *(median(each[name] for each in found[kind]) for name in ("rate", "p50", "p99")),
            ]
            for kind in kinds
        ],
    )
    say()


def workers(stage: Stage, size: Size) -> None:
    """No-op tasks a second by workers and their slots."""
    kinds = [(1, 1), (1, 2), (1, 4), (2, 2), (3, 2)]
    found: Figures = defaultdict(list)
    for _ in range(size.rounds):
        for nodes, slots in kinds:
            stage.clear()
            stage.publish(stage.waiting(size.backlog))
            with stage.workers(nodes, slots):
                stage.wait_until_done()
            # Without the first and the last tenth, in which some have not begun or have no more.
            found[nodes, slots].append(
                size.backlog
                * 0.8
                / stage.number(
                    "SELECT percentile_disc(0.9) WITHIN GROUP (ORDER BY t) -"
                    " percentile_disc(0.1) WITHIN GROUP (ORDER BY t)"
                    " FROM (SELECT extract(epoch FROM completed_at) AS t FROM tasks) AS ends"
                )
            )
    say("### Runs by workers (no-op tasks; nothing is created meanwhile)\n")
    table(
        ["workers", "slots each", "tasks a second"],
        [[*kind, median(found[kind])] for kind in kinds],
    )
    say()


def waiting(stage: Stage, size: Size) -> None:
    """What a crowd of waiting tasks costs."""
    rows = []
    for count in (1_000, size.rows):
        stage.clear()
        memory = stage.redis.info("memory")["used_memory"]
        messages = stage.waiting(count)
        stage.publish(messages)
        memory = stage.redis.info("memory")["used_memory"] - memory
        one_round = Rounds(stage).do
        rounds = [timed(one_round) for _ in range(20)]
        claims = []
        for message in messages[:: len(messages) // 200][:200]:
            with stage.database.statement() as connection:
                began_at = time.perf_counter()
                assert attempts.claim(
                    connection, message.task_id, QueueName.LOW, "w/1", 600, [message.type]
                )
                claims.append(time.perf_counter() - began_at)
        stage.redis.flushall()
        began_at = time.monotonic()
        until(partial(is_back, stage, one_round, count - len(claims)), 900, pause=0.5)
        back = time.monotonic() - began_at
        rows.append([f"{count:,}", memory / 1e6, median(rounds) * 1e3, median(claims) * 1e3, back])
    say("### Tasks that wait\n")
    head = ["waiting", "Redis, MB", "a round of maintenance, ms", "a claim, ms"]
    table([*head, "all published again after Redis lost everything, s"], rows)
    say()


def is_back(stage: Stage, one_round: Callable[[], bool], wanted: int) -> bool:
    """Return whether so many messages are in the queue again, after one more round."""
    return one_round() and int(stage.redis.llen("low")) >= wanted


class Rounds:
    """Rounds of maintenance, as a worker does them twice a second."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._lost_messages = LostMessages(margin_seconds=1, handover_seconds=1)

    def do(self) -> bool:
        """Do one round; return whether it was done."""
        stage = self._stage
        return maintenance.run_round(
            stage.database, stage.publisher, stage.settings, self._lost_messages
        )


def timed(call: Callable[[], object]) -> float:
    """Return how many seconds it takes."""
    began_at = time.perf_counter()
    call()
    return time.perf_counter() - began_at


SECTIONS: dict[str, Callable[[Stage, Size], None]] = {
    "cost": cost,
    "idle": idle,
    "api": api,
    "workers": workers,
    "waiting": waiting,
    "retention": keep,
}


def main() -> int:
    """Measure the sections that are named, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar="SECTION")
    parser.add_argument("--rows", type=int, default=1_000_000, help="ended or waiting tasks")
    parser.add_argument("--seconds", type=int, default=5, help="length of each load")
    parser.add_argument("--rounds", type=int, default=3, help="of each, interleaved")
    parser.add_argument("--backlog", type=int, default=10_000, help="tasks for workers to run")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed for the load: apt-get install wrk")
    # Maintenance has much to say of what is done to it here.
    logging.disable(logging.WARNING)
    size = Size(given.rows, given.seconds, given.rounds, given.backlog)
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stage = Stage(Path(folder), stack)
        version = stage.sql("SHOW server_version")[0][0]
        say(
            f"Commit {commit.stdout.strip()}, {os.cpu_count()} cores, Python"
            f" {platform.python_version()}, PostgreSQL {version}, Valkey"
            f" {stage.redis.info('server').get('valkey_version', '')}. Medians of {given.rounds}"
            f" rounds of {given.seconds} s.\n"
        )
        for name in given.sections or SECTIONS:
            SECTIONS[name](stage, size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
