"""What a monitor such as Flower hears of a worker's tasks."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery

from app.broker.celery import create_celery
from app.settings import Settings
from app.worker.events import MOST_AT_ONCE, BatchingDispatcher
from tests.lab import Lab
from tests.support import wait_for


@contextmanager
def heard(redis_url: str) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """Yield the events of each task as Celery's own receiver hears them, one after another."""
    events: dict[str, list[dict[str, Any]]] = defaultdict(list)
    app = Celery(broker=redis_url, set_as_current=False)
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(
            connection, handlers={"*": lambda event: events[event.get("uuid", "")].append(event)}
        )

        def listen() -> None:
            for _ in receiver.consume(limit=None, safety_interval=0.1, wakeup=False):
                pass

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            wait_for(lambda: _is_listening(app, events), 5, "the receiver listens")
            yield events
        finally:
            receiver.should_stop = True
            thread.join(10)


def _is_listening(app: Celery, events: dict[str, list[dict[str, Any]]]) -> bool:
    """Say something, and return whether anything that was said has been heard."""
    with app.connection_for_write() as connection:
        app.events.Dispatcher(connection, "test").send("test-hello", uuid="hello")
    return bool(events["hello"])


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_a_monitor_sees_each_task_s_name_arguments_and_end_also_of_the_last_one(
    own_lab: Lab,
) -> None:
    with heard(own_lab.service.redis_url) as events:
        own_lab.service.start_worker()
        good, bad = own_lab.add("sleep"), own_lab.add("exits")
        again = own_lab.add("fails_twice", max_attempts=3)
        own_lab.service.wait_until(good, "COMPLETED")
        own_lab.service.wait_until(bad, "FAILED")
        wait_for(lambda: "task-succeeded" in names(events[str(good)]), 5, "the end is told")
        stopped = own_lab.start("sleep", seconds=60)
        with own_lab.service.client() as client:
            client.post(f"/tasks/{stopped}/cancel")
        own_lab.service.wait_until(stopped, "CANCELLED")
        # Its end is the last thing that happens in the worker, which was told to stop after it.
        last = own_lab.start("sleep", seconds=0.7)
        Celery(broker=own_lab.service.redis_url, set_as_current=False).control.shutdown()
        own_lab.service.processes.pop("worker").wait(20)
        wait_for(lambda: "task-succeeded" in names(events[str(last)]), 5, "the last end is told")

    for task_id in (good, last):
        # By type: a message that came twice is received and started twice, and runs nothing then.
        of_type = {event["type"]: event for event in reversed(events[str(task_id)])}
        received, started = of_type["task-received"], of_type["task-started"]
        succeeded = of_type["task-succeeded"]
        assert (received["name"], received["args"]) == ("sleep", f"({task_id}, 'задача sleep')")
        assert received["timestamp"] <= started["timestamp"] <= succeeded["timestamp"]
        assert succeeded["result"] == "'done by attempt 1'"
    assert 0.7 <= succeeded["runtime"] < 5
    assert names(events[str(bad)])[-1] == "task-failed"
    assert "SystemExit" in events[str(bad)][-1]["exception"]
    assert "task-retried" in names(events[str(again)])
    assert "task-revoked" in names(events[str(stopped)])


def dispatcher(celery: Celery, **options: Any) -> BatchingDispatcher:
    return BatchingDispatcher(
        celery.connection_for_write(), "w@test", app=celery, buffer_group=["task"], **options
    )


def test_events_wait_for_each_other_and_a_full_batch_goes_out_at_once(settings: Settings) -> None:
    celery = create_celery(settings, publisher_only=True)
    told: list[int] = []
    with heard(settings.redis_url) as events:
        sender = dispatcher(celery, on_send_buffered=lambda: told.append(1))

        for _ in range(MOST_AT_ONCE - 1):
            sender.send("task-started", uuid="a")
        assert (len(told), events["a"]) == (MOST_AT_ONCE - 1, [])
        sender.send("task-succeeded", uuid="a")

        wait_for(lambda: len(events["a"]) == MOST_AT_ONCE, 5, "all have come")


def test_a_new_connection_sends_what_the_lost_one_had_not(settings: Settings) -> None:
    celery = create_celery(settings, publisher_only=True)
    with heard(settings.redis_url) as events:
        lost = dispatcher(celery)
        lost.send("task-started", uuid="a")
        lost.close()

        sender = dispatcher(celery)
        sender.extend_buffer(lost)
        sender.flush()

        wait_for(lambda: names(events["a"]) == ["task-started"], 5, "the event has come")


def test_what_cannot_be_sent_does_not_fill_the_memory(settings: Settings) -> None:
    sender = dispatcher(create_celery(settings, publisher_only=True))
    sender.producer.publish = None

    for _ in range(1000):
        sender.send("task-started", uuid="a")
        sender.flush()

    assert len(sender._outbound_buffer) < 1000
