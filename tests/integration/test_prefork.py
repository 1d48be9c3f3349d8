"""Our pool of processes beside Celery's: tasks are handed over at once, and leave nothing behind.

These tests fail when an upgrade of Celery or billiard changes what the pool leans on.
"""

import operator
import time
from collections.abc import Iterator
from typing import Any

import pytest
from billiard.exceptions import TimeLimitExceeded
from kombu.asynchronous import Hub

from app.broker.celery import create_celery
from app.settings import Settings
from app.worker.prefork import TaskPool
from tests.support import wait_for

pytestmark = pytest.mark.filterwarnings(
    # As in a worker, which has threads too; the children run nothing that waits for one.
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


class Loop:
    """A pool of two processes in an event loop."""

    def __init__(self, settings: Settings) -> None:
        self.hub = Hub()
        app = create_celery(settings, publisher_only=True)
        self.pool = TaskPool(
            2, app=app, initargs=(app, "w@test"), putlocks=False, threads=False, timeout=3600
        )
        self.pool.start()
        self.pool.register_with_event_loop(self.hub)
        self.turn_until(lambda: len(self.pool._pool._all_inqueues) == 2, "both are up")
        self.results: list[Any] = []

    def apply(self, function: Any, *args: Any, **options: Any) -> None:
        self.pool.apply_async(
            function,
            args,
            callback=self.results.append,
            error_callback=lambda error: self.results.append(error.exception.exc),
            **options,
        )

    def turn_until(self, condition: Any, message: str) -> None:
        def turn() -> bool:
            for _ in range(5):
                self.hub.run_once()
                if condition():
                    return True
            return False

        wait_for(turn, 10, message)


@pytest.fixture(scope="module")
def only_loop() -> Iterator[Loop]:
    loop = Loop(Settings(redis_url="redis://127.0.0.1:1", _env_file=None))
    yield loop
    loop.pool.terminate()
    loop.hub.close()


@pytest.fixture
def loop(only_loop: Loop) -> Loop:
    only_loop.results.clear()
    return only_loop


def test_tasks_go_to_idle_processes_at_once_and_the_others_wait(loop: Loop) -> None:
    waiting = loop.pool._pool.outbound_buffer

    for _ in range(2):
        loop.apply(time.sleep, 0.2)
        assert not waiting
    loop.apply(len, "abc")
    loop.apply(len, "x" * 100_000)
    assert len(waiting) == 2
    # A small one goes into the pipe in one piece, a large one with its length in front of it.
    assert [bytes(job._payload[1]) == b"" for job in waiting] == [True, False]

    loop.turn_until(lambda: len(loop.results) == 4, "all have ended")
    assert sorted(loop.results, key=str) == [100_000, 3, None, None]
    assert not waiting


def test_tasks_that_have_ended_leave_no_timers_and_no_pipes_in_the_loop(loop: Loop) -> None:
    timers = len(loop.hub.timer)

    for number in range(1, 51):
        loop.apply(abs, -number)
        loop.turn_until(lambda number=number: len(loop.results) == number, "it has ended")

    assert loop.results == list(range(1, 51))
    assert len(loop.hub.timer) <= timers
    assert loop.hub.writers == {}
    assert not loop.pool._pool._cache


def test_the_loop_looks_on_at_the_pipes_of_small_and_large_results(loop: Loop, monkeypatch) -> None:
    registered: list[int] = []
    register = loop.hub.poller.register
    monkeypatch.setattr(
        loop.hub.poller,
        "register",
        lambda fd, events: (registered.append(fd), register(fd, events)),
    )
    for number in range(1, 11):
        loop.apply(operator.mul, "x", number)
        loop.turn_until(lambda number=number: len(loop.results) == number, "it has ended")
    assert registered == []

    # It comes in many pieces, between which the loop calls something else.
    loop.apply(operator.mul, "x", 5_000_000)
    loop.turn_until(lambda: len(loop.results) == 11, "the large one has ended")
    loop.apply(operator.mul, "x", 12)
    loop.turn_until(lambda: len(loop.results) == 12, "one after it has ended")
    assert [len(result) for result in loop.results] == [*range(1, 11), 5_000_000, 12]


def test_a_task_beyond_its_limit_is_ended_and_its_process_replaced(loop: Loop) -> None:
    before = {process.pid for process in loop.pool._pool._pool}
    loop.apply(time.sleep, 60, timeout=0.1)
    # The timer that looks at the limits is there, and its function does what it should.
    entries = [scheduled.entry.fun.__name__ for scheduled in loop.hub.timer.queue]
    assert "handle_event" in entries

    def ended() -> bool:
        loop.pool._pool.check_timeouts()
        return bool(loop.results)

    loop.turn_until(ended, "the limit was noticed")
    assert isinstance(loop.results[0], TimeLimitExceeded)
    loop.turn_until(
        lambda: len({process.pid for process in loop.pool._pool._pool} & before) == 1,
        "the process was replaced",
    )
