"""What the service's processes hold after few and after many tasks."""

import time

import psutil

from benchmarks.load import load
from benchmarks.measurements import CONNECTIONS, SERVICE, WORKER, Bench, count_tasks
from benchmarks.processes import serving, wait_for, working

FEW, MANY = 1000, 100_000
_SECONDS = 1500.0
_SLOTS = 2


def held_mebibytes(bench: Bench) -> tuple[dict[str, float], dict[str, float]]:
    """Return what each process holds for itself after FEW and after MANY tasks, in MiB.

    The service takes and runs them all at once, under full load. Celery replaces the process of a
    slot after some thousands of tasks.
    """
    with (
        bench.servers.fresh() as environment,
        serving(SERVICE, environment, bench.logs) as (url, pid),
        working(WORKER, environment, bench.logs) as main,
    ):
        found = []
        for count in (FEW, MANY):
            while (missing := count - count_tasks(environment)) > 0:
                load(
                    f"{url}/tasks/",
                    method="POST",
                    status=201,
                    text='"id":',
                    connections=CONNECTIONS,
                    seconds=max(1.0, min(20.0, missing / 2000)),
                )
            wait_for(
                lambda: count_tasks(environment) == count_tasks(environment, "COMPLETED"),
                _SECONDS,
                "all have ended",
                every=1.0,
            )
            # A process that is about to be replaced, or has just been, holds other things.
            wait_for(lambda: _have_settled(main.children()), 60, "no slot is being replaced")
            slots = [_mebibytes(child) for child in main.children()]
            found.append(
                {
                    "API": _mebibytes(psutil.Process(pid)),
                    "worker's main process": _mebibytes(main),
                    "worker's slots, the largest": max(slots),
                }
            )
    few, many = found
    return few, many


def _have_settled(slots: list[psutil.Process]) -> bool:
    now = time.time()
    return len(slots) == _SLOTS and all(now - slot.create_time() > 3 for slot in slots)


def _mebibytes(process: psutil.Process) -> float:
    # What would be free if it ended: memory that it shares with its parent is the parent's.
    return float(process.memory_full_info().uss) / 2**20
