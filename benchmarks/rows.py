"""The rows of the table: what is compared with what, and what is asked of the ratio."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import against_peers, memory, table_sizes
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
    """One comparison. `measure` takes one pair; with `at_most` the smaller ratio is better.

    A row that asks for nothing has a `least` of 0 and is only told. What takes minutes is done
    `most_rounds` times at most, if that is not 0.
    """

    name: str
    what: str
    against: str
    least: float
    stretch: float
    measure: Callable[[Bench], Pair]
    at_most: bool = False
    most_rounds: int = 0

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


def _post_peers(bench: Bench) -> Pair:
    ours, best = bench.http(SERVICE, "post"), against_peers.best_post(bench)
    return Pair(ours.rate, best.rate, "requests/s")


def _run_peer(name: str) -> Callable[[Bench], Pair]:
    def measure(bench: Bench) -> Pair:
        return Pair(bench.run_rate(), against_peers.run_rate(bench, name), "tasks/s")

    return measure


def _table_size(bench: Bench) -> Pair:
    pairs = {
        name: sorted((Pair(*rates, "requests/s") for rates in taken), key=lambda pair: pair.ratio)
        for name, taken in table_sizes.page_rates(bench).items()
    }
    middle = {name: ordered[len(ordered) // 2] for name, ordered in pairs.items()}
    return _worst(bench, "pages", middle, min)


def _claims(bench: Bench) -> Pair:
    # As rates, so that more is better, as in the other rows of this kind.
    many, few = table_sizes.claim_milliseconds(bench)
    return Pair(1000 / many, 1000 / few, "claims/s")


def _memory(bench: Bench) -> Pair:
    few, many = memory.held_mebibytes(bench)
    pairs = {name: Pair(many[name], few[name], "MiB") for name in few}
    return _worst(bench, "memory", pairs, max)


def _worst(bench: Bench, subject: str, pairs: dict[str, Pair], choose: Callable[..., Pair]) -> Pair:
    """Keep the ratio of each pair, and return the worst one."""
    for name, pair in pairs.items():
        bench.note(subject, name, pair.ratio)
    return choose(pairs.values(), key=lambda pair: pair.ratio)


_IDLE = "POST to COMPLETED on an idle service, median"
ROWS = (
    Row("post", "POST /tasks/, 16 connections", "bare route", 0.5, 0.65, _rate("post")),
    Row("post-peers", "POST /tasks/, 16 connections", "the fastest peer", 1.3, 1.8, _post_peers),
    Row("post-p99", "POST p99, 16 connections", "bare route's p99", 5, 3, _post_p99, at_most=True),
    Row("post-idle", "POST p50, one connection, idle", "bare route's p50 + one INSERT's commit",
        3, 2, _post_alone, at_most=True),
    Row("run", "no-op tasks, -c 2, events on", "bare Celery", 0.85, 1.1,
        lambda bench: Pair(bench.run_rate(), bench.celery_rate(), "tasks/s")),
    Row("run-procrastinate", "no-op tasks, -c 2, events on", "procrastinate (durable)", 1.3, 2,
        _run_peer("procrastinate")),
    Row("run-pgqueuer", "no-op tasks, -c 2, events on",
        "pgqueuer (durable, claims and ends in batches)", 0, 1, _run_peer("pgqueuer")),
    Row("nodes", "no-op tasks, two worker nodes", "one node", 1.5, 1.7,
        lambda bench: Pair(bench.run_rate(2), bench.run_rate(1), "tasks/s")),
    Row("idle", _IDLE, "bare Celery's publish to done", 3, 2,
        lambda bench: Pair(bench.idle_milliseconds(), bench.celery_idle_milliseconds(), "ms"),
        at_most=True),
    Row("both", "POST and run at once, tasks ended", "the lower of both rates", 0.6, 0.8, _both),
    Row("get", "GET /tasks/{id}, 16 connections", "bare route", 0.3, 0.5, _rate("get")),
    Row("page", "GET /tasks/, 100 tasks, 16 connections", "bare route, one task", 0.15, 0.3, _page),
    Row("page-same", "the same", "bare route, 100 tasks", 0.15, 0.3, _rate("page")),
    Row("table-size", "GET /tasks/, 100 of 1,000,000 tasks, the worst filter or page", "of 1,000",
        0.9, 1, _table_size, most_rounds=2),
    Row("claims", "claims with 1,000,000 tasks waiting", "with 1,000", 0.9, 1, _claims,
        most_rounds=2),
    Row("memory", "memory after 100,000 tasks, the worst process", "after 1,000", 1.05, 1.01,
        _memory, at_most=True, most_rounds=1),
)  # fmt: skip
