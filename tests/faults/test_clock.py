"""A machine whose clock is a minute off: leases and times are judged by the database's clock alone.

The wrong clock is made in the processes themselves (`wrong_clock/sitecustomize.py`), the test's own
and the database's are right. Beside it, a look at the source: what would compare clocks must not
come back.
"""

import ast
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.conftest import LEASE_SECONDS, LONG
from tests.faults.evidence import lease_end, now, timeline, wait_until_final
from tests.faults.figures import figure
from tests.lab import Lab
from tests.servers import ROOT

AFTER_A_LEASE_SECONDS = 5.0


def start_on_wrong_machine(lab: Lab, name: str, offset: float) -> None:
    """Start the API or a worker on a machine whose clock is `offset` seconds ahead."""
    service = lab.service
    path = os.pathsep.join(
        filter(None, [str(Path(__file__).parent / "wrong_clock"), os.environ.get("PYTHONPATH")])
    )
    right = dict(service.settings)
    service.settings |= {"PYTHONPATH": path, "CLOCK_OFFSET_SECONDS": str(offset)}
    try:
        if name == "api":
            service.start_api()
        else:
            service.start_worker(name)
    finally:
        service.settings.clear()
        service.settings.update(right)
    # Its log lines show that the clock is wrong indeed.
    last = re.findall(r"^(\d{4}-\S+) INFO ", service.log(name), flags=re.MULTILINE)[-1]
    shown = datetime.fromisoformat(last).replace(tzinfo=UTC)
    assert abs((shown - datetime.now(UTC)).total_seconds() - offset) < 20


@pytest.mark.parametrize("offset", [60, -60] if LONG else [60])
def test_a_wrong_clock_rescues_nothing_early_and_nothing_late(
    lease_lab: Lab, offset: float
) -> None:
    """The API and the only worker that is left have it; one that has it dies, and one that not."""
    service = lease_lab.service
    service.stop("api")
    start_on_wrong_machine(lease_lab, "api", offset)
    start_on_wrong_machine(lease_lab, "wrong", offset)
    lost = [lease_lab.start("long_at_first", seconds=60) for _ in "12"]
    service.start_worker("right")
    lost += [lease_lab.start("long_at_first", seconds=60) for _ in "12"]
    start_on_wrong_machine(lease_lab, "left", offset)
    neighbour = lease_lab.start("sleep", seconds=LEASE_SECONDS + 3)
    places = [service.read(task_id)["worker"].split("@")[0] for task_id in [*lost, neighbour]]
    assert places == ["wrong", "wrong", "right", "right", "left"]
    # Leases are given by the database's clock too.
    for task_id in [*lost, neighbour]:
        assert LEASE_SECONDS / 2 < lease_end(lease_lab, task_id) - now(lease_lab) < LEASE_SECONDS

    service.kill("wrong")
    service.kill("right")
    lapses = {task_id: lease_end(lease_lab, task_id) for task_id in lost}
    # Meanwhile what is due is neither early nor late.
    failing = lease_lab.add("fails_twice", max_attempts=3)
    posted = service.create(priority="HIGH")
    ended = wait_until_final(lease_lab, [*lost, neighbour, failing, posted["id"]], 40)

    for task_id in lost:
        rescued = timeline(lease_lab, task_id).the("rescued").at
        figure(f"rescue after the lease, clock {offset:+} s", rescued - lapses[task_id])
        assert 0 <= rescued - lapses[task_id] < AFTER_A_LEASE_SECONDS
        assert (ended[task_id].status, ended[task_id].attempt) == ("COMPLETED", 2)
    assert (ended[neighbour].status, ended[neighbour].attempt) == ("COMPLETED", 1)
    events = timeline(lease_lab, failing)
    for attempt, pause in ((1, 0.5), (2, 1.0)):
        waited = events.the("claimed", attempt + 1).at - events.the("retry_scheduled", attempt).at
        assert pause <= waited < pause + 3
    created_at = datetime.fromisoformat(posted["created_at"]).timestamp()
    assert abs(created_at - events.the("created").at) < 5
    assert (ended[posted["id"]].status, ended[posted["id"]].attempt) == ("COMPLETED", 1)
    assert lease_lab.ledger.overlaps() == []


# -- The source ---------------------------------------------------------------------------------

# Where the local clock may be asked, and why nothing is compared there with the database's.
ALLOWED = {
    ("app/broker/messages.py", "time.time"): "monitors are told when an event happened",
    ("app/handlers/http_request/signing.py", "time.time"): "it is for the target of a request",
    ("app/handlers/http_request/verdict.py", "datetime.now"): "compared with a target's date",
    ("app/handlers/lines.py", "datetime.now"): "it is what a task's log lines show",
    ("app/logs.py", "time.gmtime"): "it is what log lines show",
    ("app/services/drafts.py", "datetime.now"): "compared with a client's time, a year ahead",
    ("app/worker/liveness.py", "time.time"): "compared with the age of a file of this machine",
}
OF_TIME = {"time", "time_ns", "gmtime", "localtime", "strftime", "ctime", "asctime"}
OF_DATETIME = {"now", "utcnow", "today"}
# func.now() in a statement, and what it returned in a row.
OF_THE_DATABASE = {"func", "row"}


def asks_for_the_time(source: str) -> Iterator[str]:
    """Yield each use of this machine's time of day, as it is written."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if (owner == "time" and node.attr in OF_TIME) or (
                owner not in OF_THE_DATABASE and node.attr in OF_DATETIME
            ):
                yield f"{owner}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (f"time.{name.name}" for name in node.names if name.name in OF_TIME)


def test_nothing_in_the_service_compares_this_machine_s_clock_with_the_database_s() -> None:
    found = {
        (str(path.relative_to(ROOT)), use)
        for path in sorted((ROOT / "app").rglob("*.py"))
        for use in asks_for_the_time(path.read_text(encoding="utf-8"))
    }

    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ("datetime.now(UTC)", ["datetime.now"]),
        ("datetime.datetime.utcnow()", ["datetime.datetime.utcnow"]),
        ("date.today()", ["date.today"]),
        ("f = time.time", ["time.time"]),
        ("from time import monotonic, time_ns", ["time.time_ns"]),
        ("func.now() + time.monotonic()", []),
    ],
)
def test_the_look_at_the_source_finds_what_asks_for_the_time(source: str, uses: list[str]) -> None:
    assert list(asks_for_the_time(source)) == uses
