"""What the number of tasks in the table does to reading, creating and claiming."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.load import load
from benchmarks.measurements import CONNECTIONS, SERVICE, Bench, ask, execute
from benchmarks.processes import serving

FEW, MANY = 1000, 1_000_000
# A third has failed and a third has each priority, so that no page is short of its hundred tasks,
# also where there are few.
FILTERS = {
    "no filter": "",
    "status=COMPLETED": "status=COMPLETED",
    "status=FAILED": "status=FAILED",
    "priority=HIGH": "priority=HIGH",
    "status=FAILED&priority=LOW": "status=FAILED&priority=LOW",
}
# Of each kind of request what the plot calls it. New tasks come last, for they make the table grow.
_CURVES = {
    "page": "GET, 100 tasks, 1 connection",
    "get": "GET, one task, 16 connections",
    "post": "POST, 16 connections",
}


@dataclass(frozen=True)
class Table:
    """A service's environment with so many tasks in it."""

    environment: dict[str, str]
    count: int


@contextmanager
def ended_tasks(bench: Bench, count: int) -> Iterator[Table]:
    """Yield a table with so many tasks that have ended, as it is after some weeks."""
    with bench.servers.fresh() as environment:
        execute(
            environment,
            "INSERT INTO tasks (title, description, priority, status, type, queue, attempt,"
            " started_at, completed_at, worker, error_info)"
            " SELECT 'Monthly report', 'Collect the figures of November',"
            " (ARRAY['LOW', 'MEDIUM', 'HIGH'])[1 + n % 3],"
            " CASE WHEN n / 3 % 3 = 0 THEN 'FAILED' ELSE 'COMPLETED' END, 'noop',"
            " (ARRAY['low', 'medium', 'high'])[1 + n % 3], 1, now(), now(), 'a@b/1',"
            " CASE WHEN n / 3 % 3 = 0 THEN 'no' END"
            f" FROM generate_series(1, {count}) AS n",
        )
        _settle(environment)
        yield Table(environment, count)


@contextmanager
def waiting_tasks(bench: Bench, count: int) -> Iterator[Table]:
    """Yield a table with so many tasks that wait to be run, all of them published."""
    with bench.servers.fresh() as environment:
        execute(
            environment,
            "INSERT INTO tasks (title, description, priority, status, type, queue, dispatched_at)"
            " SELECT 'Monthly report', 'Collect the figures of November', 'MEDIUM', 'PENDING',"
            f" 'noop', 'medium', now() FROM generate_series(1, {count})",
        )
        _settle(environment)
        yield Table(environment, count)


def _settle(environment: dict[str, str]) -> None:
    """Do now what PostgreSQL would do by itself in the midst of a measurement."""
    execute(environment, "VACUUM ANALYZE tasks")
    execute(environment, "CHECKPOINT")


def page_rates(bench: Bench) -> tuple[dict[str, float], dict[str, float]]:
    """Return the pages a second with few and with many tasks, of each filter and of page 5,000.

    One connection asks, so that no two requests are answered by one read.
    """
    found = []
    for count in (FEW, MANY):
        with ended_tasks(bench, count) as table:
            queries = dict(FILTERS)
            if count == MANY:
                queries["page 5,000"] = f"before={count - 4999 * 100 + 1}"
            found.append(_rates(bench, table, queries))
    few, many = found
    return few, many


def _rates(bench: Bench, table: Table, queries: dict[str, str]) -> dict[str, float]:
    # A part of the usual time for each, and each of them twice, the second time in reverse.
    seconds = max(1.0, bench.seconds / 4)
    rates: dict[str, list[float]] = {name: [] for name in queries}
    with serving(SERVICE, table.environment, bench.logs) as (url, _):
        for name in [*queries, *reversed(queries)]:
            found = load(
                f"{url}/tasks/?{queries[name]}",
                method="GET",
                status=200,
                text="},{",
                connections=1,
                seconds=seconds,
            )
            rates[name].append(found.rate)
    return {name: statistics.mean(each) for name, each in rates.items()}


def rates_by_size(bench: Bench, sizes: tuple[int, ...]) -> dict[str, list[list[float]]]:
    """Return the rate of pages, of single tasks and of new tasks, by the size of the table."""
    curves: dict[str, list[list[float]]] = {}
    for count in sizes:
        with (
            ended_tasks(bench, count) as table,
            serving(SERVICE, table.environment, bench.logs) as (url, _),
        ):
            for what, name in _CURVES.items():
                connections = 1 if what == "page" else CONNECTIONS
                bench.load(url, what, connections, 1.0)
                rate = bench.load(url, what, connections, bench.seconds).rate
                curves.setdefault(name, []).append([count, rate])
    return curves


def claim_milliseconds(bench: Bench, count: int) -> float:
    """Return the median time of a claim, its commit included, with so many tasks waiting."""
    with waiting_tasks(bench, count) as table:
        median = float(bench.errand("claim", table.environment, count))
        claimed = ask(table.environment, "SELECT count(*) FROM tasks WHERE status = 'IN_PROGRESS'")
        if claimed[0][0] < 500:
            raise ValueError(f"only {claimed[0][0]} tasks were claimed")
    return median
