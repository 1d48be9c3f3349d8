"""Targets of http_request that misbehave, and workers that die or are stopped in the midst of it.

Behind the service's own word stands the target's: it sees every request, and every connection that
is closed.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests import http_target
from tests.faults.conftest import LONG
from tests.faults.evidence import cancel, chance, error_lines, timeline
from tests.faults.figures import figure
from tests.faults.processes import pool, process_of
from tests.http_target import Behaviour, Exchange, Target, answer, in_turn
from tests.lab import Lab
from tests.service import FINAL
from tests.support import wait_for

# What the service promises, in seconds.
CANCEL_SECONDS = 1.5
AFTER_A_CHILD_SECONDS = 5.0
# What a worker process may take beside what it has at rest, whatever a target sends.
MOST_MIB = 64
TIMEOUT_SECONDS = 2.0
HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

# What makes an attempt fail, after which the target is well again.
BAD: dict[str, Behaviour] = {
    "never answers": http_target.hang,
    "hangs after its headers": http_target.hang_after_headers,
    "drips its headers": http_target.drip(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"),
    "drips its body": http_target.drip(HEADERS + b"Content-Length: 9999\r\n\r\n", b"x"),
    "drips provisional answers": http_target.drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "resets the connection": http_target.reset,
    "hangs up": http_target.hang_up,
    "closes in the middle of its headers": http_target.raw(HEADERS),
    "closes in the middle of its body": http_target.raw(HEADERS + b"Content-Length: 9\r\n\r\nabc"),
    "closes in the middle of a chunk": http_target.raw(
        HEADERS + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"
    ),
    "answers garbage for ever": http_target.garbage(),
    "answers headers for ever": http_target.garbage(HEADERS, b"X-More: of them\r\n" * 1000),
    "answers provisionally for ever": http_target.garbage(
        b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000
    ),
    "answers one chunk size for ever": http_target.garbage(
        HEADERS + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 10_000
    ),
    "answers trailers for ever": http_target.garbage(
        HEADERS + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-More: of them\r\n" * 1000
    ),
    "answers in a language of its own": http_target.raw(b"220 mail.example.com ESMTP\r\n"),
}
# What makes an answer that is cut.
ENDLESS: dict[str, Behaviour] = {
    "answers a body for ever": http_target.garbage(HEADERS + b"\r\n"),
    "answers chunks for ever": http_target.garbage(
        HEADERS + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\nabcd\r\n" * 1000
    ),
    "answers a bomb": http_target.bomb(200),
}

pytestmark = pytest.mark.timeout(600 if LONG else 120)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with http_target.target() as own:
        yield own


@pytest.fixture
def http_lab(worker_lab: Lab, target: Target) -> Lab:
    """A lab whose workers may reach the target."""
    worker_lab.service.settings["HTTP_REQUEST_ALLOW"] = f"127.0.0.1:{target.port}"
    target.requests.clear()
    return worker_lab


def ask(lab: Lab, url: str, *, timeout_seconds: float = 30, **more: object) -> int:
    task = lab.service.create(
        type="http_request",
        payload={"url": url, "method": "POST", "timeout_seconds": timeout_seconds},
        backoff={"initial_seconds": 0, "jitter": False},
        **more,
    )
    return int(task["id"])


def memory_mib(processes: list[psutil.Process]) -> float:
    return max(process.memory_info().rss for process in processes) / 2**20


def test_no_target_however_bad_does_more_than_fail_its_own_attempt(
    http_lab: Lab, target: Target
) -> None:
    http_lab.service.settings["WORKER_CONCURRENCY"] = "4"
    main = http_lab.service.start_worker()
    processes = pool(main)
    # Each has made what it needs for such tasks.
    calm = [ask(http_lab, target.on("/calm", answer())) for _ in range(12)]
    for task_id in calm:
        assert http_lab.service.wait_until(task_id, *FINAL)["status"] == "COMPLETED"
    before = memory_mib(processes)

    bad, endless = {}, {}
    for number, (name, behaviour) in enumerate({**BAD, **ENDLESS}.items()):
        path = f"/{number}"
        url = target.on(path, in_turn(behaviour, answer()))
        task_id = ask(http_lab, url, timeout_seconds=TIMEOUT_SECONDS)
        (bad if name in BAD else endless)[name] = (task_id, path)

    for name, (task_id, path) in bad.items():
        done = http_lab.service.wait_until(task_id, *FINAL, seconds=40)
        assert (done["status"], done["attempt"], done["result"]["body"]) == (
            "COMPLETED",
            2,
            {"ok": True},
        ), (name, done)
        with http_lab.service.client() as client:
            first, _ = client.get(f"/tasks/{task_id}/attempts").json()
        assert first["error"].startswith("NoAnswer: "), (name, first)
        first_request, second_request = target.at(path)
        took = second_request.at - first_request.at
        figure(f"a target that {name}: until the next attempt", took)
        assert took < TIMEOUT_SECONDS + 3, name
    for name, (task_id, path) in endless.items():
        done = http_lab.service.wait_until(task_id, *FINAL, seconds=40)
        assert (done["status"], done["attempt"]) == ("COMPLETED", 1), (name, done)
        assert done["result"]["truncated"], name
        assert len(target.at(path)) == 1
    # Every connection that the target had not closed itself was closed by the worker.
    waiting = [each for each in target.requests if each.waits]
    assert len(waiting) > 8
    wait_for(lambda: all(each.closed_at for each in waiting), 5, f"all are closed: {waiting}")

    assert pool(main) == processes
    growth = memory_mib(processes) - before
    print(f"memory that it took: {growth:.1f} MiB")
    assert growth < MOST_MIB
    assert error_lines(http_lab, "api", "worker") == []


def test_a_worker_that_dies_with_the_answer_in_hand_asks_again_with_the_same_key(
    http_lab: Lab, target: Target
) -> None:
    task_ids: list[int] = []
    has_answered = threading.Event()

    def answer_a_frozen_process(exchange: Exchange) -> None:
        # From here on it does nothing, so that it is killed after the answer and before its end.
        process_of(http_lab, task_ids[0]).suspend()
        answer(body={"number": 1})(exchange)
        has_answered.set()

    url = target.on("/once", in_turn(answer_a_frozen_process, answer(body={"number": 2})))
    http_lab.service.start_worker()
    with http_lab.service.client() as client:
        body = {"title": "x", "type": "http_request", "delay_seconds": 1, "payload": {"url": url}}
        task_ids.append(client.post("/tasks/", json=body).json()["id"])
        assert has_answered.wait(20)
        process_of(http_lab, task_ids[0]).kill()
        died_at = time.monotonic()
        done = http_lab.service.wait_until(task_ids[0], *FINAL)
        attempts = client.get(f"/tasks/{task_ids[0]}/attempts").json()

    assert (done["status"], done["attempt"], done["result"]["body"]) == (
        "COMPLETED",
        2,
        {"number": 2},
    )
    assert [each["outcome"] for each in attempts] == ["LOST", "COMPLETED"]
    first, second = target.at("/once")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert [first.headers["task-attempt"], second.headers["task-attempt"]] == ["1", "2"]
    assert timeline(http_lab, task_ids[0]).names().count("completed") == 1
    figure("worker killed with the answer: asked again", second.at - died_at)
    assert second.at - died_at < AFTER_A_CHILD_SECONDS


def test_a_cancel_stops_a_request_at_once_and_the_target_sees_it(
    http_lab: Lab, target: Target
) -> None:
    main = http_lab.service.start_worker()
    processes = pool(main)
    for name, behaviour in {
        "/before-an-answer": http_target.hang,
        "/within-an-answer": http_target.hang_after_headers,
        "/while-it-drips": http_target.drip(HEADERS + b"\r\n", b"x"),
    }.items():
        task_id = ask(http_lab, target.on(name, behaviour))
        received = target.wait_for(name)
        asked_at = time.monotonic()
        assert cancel(http_lab, task_id) == 202
        assert http_lab.service.wait_until(task_id, *FINAL)["status"] == "CANCELLED"
        wait_for(lambda of=received: of.closed_at, 5, f"{name}: the connection is closed")
        took = (received.closed_at or 0) - asked_at
        figure(f"cancel of a request {name}: its connection is closed", took)
        assert took < CANCEL_SECONDS
        assert len(target.at(name)) == 1

    # The processes live, and so do their ways to targets.
    for task_id in [ask(http_lab, target.on("/calm", answer())) for _ in range(4)]:
        assert http_lab.service.wait_until(task_id, *FINAL)["status"] == "COMPLETED"
    assert pool(main) == processes


def test_requests_that_are_cancelled_at_any_moment_harm_no_later_one(
    http_lab: Lab, target: Target
) -> None:
    random = chance("requests cancelled at random")
    http_lab.service.settings["WORKER_CONCURRENCY"] = "4"
    main = http_lab.service.start_worker()
    processes = pool(main)
    target.on("/calm", answer(body="x" * 50_000))
    target.on("/slow", http_target.drip(HEADERS + b"Content-Length: 40\r\n\r\n", b"x", 0.01))
    lock = threading.Lock()

    def one(_: int) -> tuple[int, bool]:
        with lock:
            path, pause = random.choice(["/calm", "/slow", "/slow"]), random.uniform(0, 0.8)
        task_id = ask(http_lab, target.url(path), timeout_seconds=5)
        threading.Event().wait(pause)
        return task_id, cancel(http_lab, task_id) in {200, 202}

    with ThreadPoolExecutor(8) as threads:
        tasks = list(threads.map(one, range(400 if LONG else 40)))
    for task_id, is_cancelled in tasks:
        done = http_lab.service.wait_until(task_id, *FINAL)
        expected = "CANCELLED" if is_cancelled else "COMPLETED"
        assert (done["status"], done["attempt"] <= 1) == (expected, True), done
    assert {is_cancelled for _, is_cancelled in tasks} == {True, False}

    calm = [ask(http_lab, target.url("/calm")) for _ in range(20)]
    for task_id in calm:
        done = http_lab.service.wait_until(task_id, *FINAL)
        assert (done["status"], done["attempt"]) == ("COMPLETED", 1), done
        assert done["result"]["body"] == "x" * 50_000
    assert pool(main) == processes
    assert error_lines(http_lab, "api", "worker") == []
