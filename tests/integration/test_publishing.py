"""Messages written in bulk are what Celery itself would have written."""

import json
from base64 import b64decode
from datetime import UTC, datetime

import redis

from app.broker.celery import create_celery
from app.broker.configuration import RUN_TASK
from app.broker.publisher import Publisher
from app.domain.priority import QueueName
from app.domain.task import TaskMessage
from app.settings import Settings
from tests.support import wait_for

TITLE = "Отчёт 'за' \"ноябрь\" 📊"
AT = datetime(2026, 11, 26, 12, 0, 0, 5, tzinfo=UTC)
# What differs from message to message, and from one publisher to the next.
_ITS_OWN = {"delivery_tag", "timestamp", "clock"}


def body_of(envelope: bytes | str) -> dict:
    """Return a message, its body taken apart."""
    message = json.loads(envelope)
    assert message["properties"].pop("delivery_tag")
    message["body"] = json.loads(b64decode(message["body"]))
    return message


def events_on(listener) -> list[dict]:
    """Return the events that a monitor hears next."""
    heard: list[dict] = []

    def hears() -> bool:
        said = listener.get_message(timeout=0.1)
        if said and said["type"] == "pmessage":
            body = body_of(said["data"])["body"]
            heard.extend(body if isinstance(body, list) else [body])
        return bool(heard)

    wait_for(hears, 5, "an event is heard")
    return [{k: v for k, v in event.items() if k not in _ITS_OWN} for event in heard]


def test_a_message_is_field_by_field_what_celery_would_have_put_there(
    settings: Settings, redis_url: str
) -> None:
    celery = create_celery(settings, publisher_only=True)
    client = redis.Redis.from_url(redis_url, socket_timeout=5)
    listener = client.pubsub()
    # Channels belong to no database, and workers of other tests tell of theirs.
    number = redis_url.rpartition("/")[2]
    listener.psubscribe(f"/{number}.celeryev*")
    task = TaskMessage(7_000_000_000, QueueName.LOW, "http_request", TITLE, AT)
    shown = f"({task.task_id}, {TITLE!r})"
    celery.send_task(
        "http_request",
        args=[task.task_id],
        queue="low",
        task_id=str(task.task_id),
        shadow="http_request",
        argsrepr=shown,
        kwargsrepr="{}",
        ignore_result=True,
        headers={"task": RUN_TASK, "dispatched_at": AT.isoformat()},
    )
    (theirs,) = client.lrange("low", 0, -1)
    their_event = events_on(listener)
    client.delete("low")

    assert Publisher(celery).publish([task])
    (ours,) = client.lrange("low", 0, -1)
    assert body_of(ours) == body_of(theirs)
    assert events_on(listener) == their_event
    client.close()


def test_a_bulk_lies_in_its_queues_in_its_order_behind_what_was_there(
    settings: Settings, redis_url: str
) -> None:
    publisher = Publisher(create_celery(settings, publisher_only=True))
    client = redis.Redis.from_url(redis_url, socket_timeout=5)
    queues = [QueueName.LOW, QueueName.HIGH, QueueName.LOW, QueueName.OVERDUE, QueueName.HIGH]
    assert publisher.publish([TaskMessage(9, QueueName.LOW, "t", "first", AT)])
    assert publisher.publish(
        [TaskMessage(number, queue, "t", "bulk", AT) for number, queue in enumerate(queues)]
    )
    # Workers take from the right.
    waiting = {
        queue: [body_of(each)["body"][0][0] for each in client.lrange(queue, 0, -1)][::-1]
        for queue in ("overdue", "high", "medium", "low")
    }
    assert waiting == {"overdue": [3], "high": [1, 4], "medium": [], "low": [9, 0, 2]}
    client.close()


def test_no_two_messages_have_the_same_tag(settings: Settings, redis_url: str) -> None:
    publisher = Publisher(create_celery(settings, publisher_only=True))
    tasks = [TaskMessage(number, QueueName.LOW, "noop", TITLE, AT) for number in range(1, 6)]
    # The last ones were changed to another queue and back, say: two messages of one task.
    assert publisher.publish(tasks)
    assert publisher.publish(tasks[3:])

    client = redis.Redis.from_url(redis_url, socket_timeout=5)
    messages = [json.loads(message) for message in client.lrange("low", 0, -1)]
    client.close()
    assert len({message["properties"]["delivery_tag"] for message in messages}) == 7
