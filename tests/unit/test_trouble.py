"""The types that make trouble on purpose, each as a function."""

import os
import signal
import time

import pytest

from app.domain.retry import Backoff
from app.handlers import AttemptStopped, TaskContext, registry
from app.handlers.registry import PayloadError, TaskType
from app.handlers.trouble import broken, retry


def trouble(name: str) -> TaskType:
    found = registry.get(name)
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broken, "_SECONDS", 0)
    monkeypatch.setattr(retry, "_SECONDS", 0)


def test_a_broken_task_fails_unless_told_not_to() -> None:
    with pytest.raises(RuntimeError, match="on purpose"):
        trouble("broken").run({}, TaskContext(1, 1, 0))
    assert "told not to fail" in trouble("broken").run({"force_error": False}, TaskContext(1, 1, 0))


def test_a_retrying_task_counts_failures_and_no_lost_workers() -> None:
    assert trouble("retry").max_attempts == 21
    assert trouble("retry").backoff == Backoff(0.5, 1.5, 5, jitter=False)
    for failures in (0, 1):
        with pytest.raises(RuntimeError, match=f"Failure {failures + 1} of 2"):
            trouble("retry").run({"retry_count": 2}, TaskContext(1, 9, failures))
    assert "2 failures" in trouble("retry").run({"retry_count": 2}, TaskContext(1, 3, 2))


def test_a_slow_task_reports_how_far_it_is() -> None:
    context = TaskContext(1, 1, 0)
    assert "0 s" in trouble("slow").run({"seconds": 0}, context)
    assert (context.progress_fraction, context.progress_note) == (1, "100 %")


def test_a_memory_task_says_how_much_it_took() -> None:
    context = TaskContext(1, 1, 0)
    assert "3 MiB" in trouble("memory").run({"megabytes": 3, "seconds": 0}, context)
    assert context.progress_note == "3 MiB"


def test_an_exiting_task_kills_its_process_the_given_number_of_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = []
    monkeypatch.setattr(os, "kill", lambda *call: killed.append(call))

    with pytest.raises(RuntimeError):
        trouble("exit").run({"times": 2}, TaskContext(1, 2, 0))
    assert killed == [(os.getpid(), signal.SIGKILL)]
    assert "attempt 3" in trouble("exit").run({"times": 2}, TaskContext(1, 3, 0))


def test_a_hanging_task_ends_when_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise AttemptStopped

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(AttemptStopped):
        trouble("hang").run({}, TaskContext(1, 1, 0))
    assert len(slept) == 3


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("broken", {"force": True}),
        ("retry", {"retry_count": 0}),
        ("retry", {"retry_count": 21}),
        ("slow", {"seconds": -1}),
        ("slow", {"seconds": 86_401}),
        ("exit", {"times": -1}),
        ("memory", {"megabytes": 0}),
        ("memory", {"megabytes": 16_385}),
        ("hang", {"how": "well"}),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, payload: dict[str, object]) -> None:
    with pytest.raises(PayloadError):
        trouble(name).validated(payload)


@pytest.mark.parametrize("name", ["broken", "retry", "slow", "exit", "memory", "hang"])
def test_each_has_an_example_that_fits(name: str) -> None:
    assert trouble(name).example
    trouble(name).validated(trouble(name).example)
