"""What the number of tasks in the table does to reading, creating and claiming."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.load import load
from benchmarks.measurements import CONNECTIONS, SERVICE, Bench, ask, execute
from benchmarks.processes import serving

FEW, MANY = 1000, 1_000_000
# How often each page is asked for with many and with few tasks; odd, so that one is in the middle.
_TURNS = 5
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


def page_rates(bench: Bench) -> dict[str, list[tuple[float, float]]]:
    """Return, of each filter and of page 5,000, the pages a second with many and with few tasks.

    Each pair is taken one after the other, in turns, since the machine is not as quick all the
    time. One connection asks, so that no two requests are answered by one read.
    """
    rates: dict[str, list[tuple[float, float]]] = {}
    with (
        ended_tasks(bench, FEW) as few,
        ended_tasks(bench, MANY) as many,
        serving(SERVICE, few.environment, bench.logs) as (few_url, _),
        serving(SERVICE, many.environment, bench.logs) as (many_url, _),
    ):
        # Each filter against itself with few tasks, and the deep page against the first.
        asked = {
            name: (f"{many_url}/tasks/?{q}", f"{few_url}/tasks/?{q}") for name, q in FILTERS.items()
        }
        deep = f"{many_url}/tasks/?before={MANY - 4999 * 100 + 1}"
        asked["page 5,000, against page 1 of as many tasks"] = deep, f"{many_url}/tasks/"
        for turn in range(1 + _TURNS):
            for name, urls in asked.items():
                pair = _rates(urls, bench.seconds / 4)
                # In the first turn plans are made and caches filled.
                if turn:
                    rates.setdefault(name, []).append(pair)
    return rates


def _rates(urls: tuple[str, str], seconds: float) -> tuple[float, float]:
    of_many, of_few = (
        load(url, method="GET", status=200, text="},{", connections=1, seconds=max(1.0, seconds))
        for url in urls
    )
    return of_many.rate, of_few.rate


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


def claim_milliseconds(bench: Bench) -> tuple[float, float]:
    """Return the median time of a claim, its commit included, with many and with few waiting."""
    with waiting_tasks(bench, MANY) as many, waiting_tasks(bench, FEW) as few:
        small = {"SMALL_DATABASE_URL": few.environment["DATABASE_URL"]}
        medians = bench.errand("claim", {**many.environment, **small}, MANY).split()
        for table in (many, few):
            query = "SELECT count(*) FROM tasks WHERE status = 'IN_PROGRESS'"
            if (claimed := ask(table.environment, query)[0][0]) < 500:
                raise ValueError(f"only {claimed} tasks were claimed")
    return float(medians[0]), float(medians[1])
