"""When a worker sends the events that wait."""

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from app.worker import events
from app.worker.consumer import PatientConsumer


class FakeTime:
    """A clock for the consumer that stands still until told otherwise."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def done() -> list[Any]:
    return []


@pytest.fixture
def consumer(done: list[Any]) -> PatientConsumer:
    consumer = PatientConsumer.__new__(PatientConsumer)
    consumer._events_due_at = 0.0
    consumer._pending_operations = deque()
    consumer.hub = SimpleNamespace(call_later=lambda seconds, call: done.append((seconds, call)))
    consumer.event_dispatcher = SimpleNamespace(flush=lambda **which: done.append(which))
    consumer.blueprint = SimpleNamespace(shutdown=lambda parent: done.append("closed"))
    return consumer


def test_many_events_are_sent_together_and_later_ones_again(
    consumer: PatientConsumer, done: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeTime()
    monkeypatch.setattr("app.worker.consumer.time", clock)
    soon = (events.PAUSE_SECONDS, consumer._flush_events)

    for _ in range(10):
        consumer.on_send_event_buffered()
    assert done == [soon]

    # Also when Celery has cancelled that timer, as it may when a connection fails.
    clock.now += events.PAUSE_SECONDS
    for _ in range(10):
        consumer.on_send_event_buffered()
    assert done == [soon, soon]


def test_the_last_events_are_sent_before_their_connection_is_closed(
    consumer: PatientConsumer, done: list[Any]
) -> None:
    consumer.shutdown()

    assert done == [{"errors": False}, "closed"]
