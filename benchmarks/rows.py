"""The rows of the table: what is compared with what, and what is asked of the ratio."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.measurements import BARE_ROUTE, SERVICE, Bench


@dataclass(frozen=True)
class Pair:
    """Two figures that were taken one after the other, as they are, and with their units."""

    ours: float
    theirs: float
    unit: str

    @property
    def ratio(self) -> float:
        """Ours by theirs."""
        return self.ours / self.theirs


@dataclass(frozen=True)
class Row:
    """One comparison. `measure` takes one pair; with `at_most` the smaller ratio is better."""

    name: str
    what: str
    against: str
    least: float
    stretch: float
    measure: Callable[[Bench], Pair]
    at_most: bool = False

    def passes(self, ratio: float, bound: float) -> bool:
        """Return whether a ratio is as good as a bound."""
        return ratio <= bound if self.at_most else ratio >= bound


def _rate(what: str) -> Callable[[Bench], Pair]:
    def measure(bench: Bench) -> Pair:
        ours, bare = bench.http(SERVICE, what), bench.http(BARE_ROUTE, what)
        return Pair(ours.rate, bare.rate, "requests/s")

    return measure


def _post_p99(bench: Bench) -> Pair:
    ours, bare = bench.http(SERVICE, "post"), bench.http(BARE_ROUTE, "post")
    return Pair(ours.milliseconds["99"], bare.milliseconds["99"], "ms")


def _post_alone(bench: Bench) -> Pair:
    ours, bare = bench.http(SERVICE, "post", 1), bench.http(BARE_ROUTE, "post", 1)
    commit = bench.insert_commit_milliseconds()
    return Pair(ours.milliseconds["50"], bare.milliseconds["50"] + commit, "ms")


def _page(bench: Bench) -> Pair:
    # Against one task: the bare page of a hundred is itself several times slower than that.
    ours, bare = bench.http(SERVICE, "page"), bench.http(BARE_ROUTE, "get")
    return Pair(ours.rate, bare.rate, "requests/s")


def _both(bench: Bench) -> Pair:
    lower = min(bench.http(SERVICE, "post").rate, bench.run_rate())
    return Pair(bench.both_rate(), lower, "tasks/s")


_IDLE = "POST to COMPLETED on an idle service, median"
ROWS = (
    Row("post", "POST /tasks/, 16 connections", "bare route", 0.5, 0.65, _rate("post")),
    Row("post-p99", "POST p99, 16 connections", "bare route's p99", 5, 3, _post_p99, at_most=True),
    Row("post-idle", "POST p50, one connection, idle", "bare route's p50 + one INSERT's commit",
        3, 2, _post_alone, at_most=True),
    Row("run", "no-op tasks, -c 2, events on", "bare Celery", 0.85, 1.1,
        lambda bench: Pair(bench.run_rate(), bench.celery_rate(), "tasks/s")),
    Row("nodes", "no-op tasks, two worker nodes", "one node", 1.5, 1.7,
        lambda bench: Pair(bench.run_rate(2), bench.run_rate(1), "tasks/s")),
    Row("idle", _IDLE, "bare Celery's publish to done", 3, 2,
        lambda bench: Pair(bench.idle_milliseconds(), bench.celery_idle_milliseconds(), "ms"),
        at_most=True),
    Row("both", "POST and run at once, tasks ended", "the lower of both rates", 0.6, 0.8, _both),
    Row("get", "GET /tasks/{id}, 16 connections", "bare route", 0.3, 0.5, _rate("get")),
    Row("page", "GET /tasks/, 100 tasks, 16 connections", "bare route, one task", 0.15, 0.3, _page),
    Row("page-same", "the same", "bare route, 100 tasks", 0.15, 0.3, _rate("page")),
)  # fmt: skip
