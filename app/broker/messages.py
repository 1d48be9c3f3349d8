"""What a message about a task looks like in Redis, and the event that says it was sent.

Celery writes a message in 1.2 ms and sends it in two round trips, which thousands a second cannot
pay. These are the same messages: Celery's message protocol, version 2 (its documentation, "Message
Protocol"), in the envelope of kombu's virtual transports. A test holds each field against what
`Celery.send_task` would have put there.
"""

import json
import os
import time
import uuid
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from celery.utils.nodenames import anon_nodename
from celery.utils.time import utcoffset

from app.broker.configuration import RUN_TASK
from app.domain.priority import QUEUES_BY_URGENCY
from app.domain.task import TaskMessage

# The header that carries a message's place in time; maintenance compares it with the rows.
DISPATCHED_AT = "dispatched_at"
# Where several events of tasks go together.
_EVENTS_ROUTE = "task.multi"
BEGINNING = datetime.fromisoformat("0001-01-01T00:00:00+00:00")

_EMBEDDED = '{}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}'


class MessageWriter:
    """Writes one process's messages."""

    def __init__(self, celery: Any) -> None:
        self._origin: str = anon_nodename()
        self._hostname = json.dumps(self._origin)
        self._clock: Any = celery.clock
        self._exchange: str = celery.conf.event_exchange
        self._tells_monitors: bool = celery.conf.task_send_sent_event
        # As kombu names it for its Redis transport. A Redis without a number is the first.
        number = celery.connection_for_write().virtual_host.strip("/") or "0"
        self._events_channel = f"/{number}.{self._exchange}/{_EVENTS_ROUTE}"
        # What is the same in every message. Answers would go to `reply_to`; nobody asks for any.
        self._headers = json.dumps(
            {
                "lang": "py",
                "task": RUN_TASK,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "parent_id": None,
                "kwargsrepr": "{}",
                "origin": self._origin,
                "ignore_result": True,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
            }
        )[1:-1]
        self._properties = json.dumps(
            {
                "reply_to": celery.thread_oid,
                "kwargsrepr": "{}",
                "delivery_mode": 2,
                "priority": 0,
                "body_encoding": "base64",
            }
        )[1:-1]

    def fill(self, pipeline: Any, tasks: Sequence[TaskMessage]) -> None:
        """Add what publishes these tasks to a pipeline of Redis commands.

        The most urgent queue comes first. Monitors are told in the same round trip.
        """
        # Makes each message's tag unlike all others; the system is asked once for all of them.
        batch = str(uuid.uuid4())
        written = [_Written(task) for task in tasks]
        for queue in QUEUES_BY_URGENCY:
            of_queue = [self._message(each, batch) for each in written if each.task.queue is queue]
            if of_queue:
                # kombu pushes on the left and pops on the right.
                pipeline.lpush(queue.value, *of_queue)
        if self._tells_monitors:
            pipeline.publish(self._events_channel, self._sent_events(written))

    def _message(self, written: "_Written", batch: str) -> str:
        """Return the message as it lies in a queue."""
        # The same id for each attempt: Celery's own retries do that too, and monitors show one task
        # as one line.
        task, arguments = written.task, written.arguments
        task_id = task.task_id
        body = b64encode(f"[[{task_id}], {_EMBEDDED}]".encode()).decode()
        return (
            f'{{"body": "{body}", "content-encoding": "utf-8", "content-type": "application/json",'
            f' "headers": {{"id": "{task_id}", "root_id": "{task_id}", "argsrepr": {arguments},'
            f' "shadow": {written.type},'
            f' "{DISPATCHED_AT}": "{task.dispatched_at.isoformat()}", {self._headers}}},'
            f' "properties": {{"correlation_id": "{task_id}", "argsrepr": {arguments},'
            f' "delivery_info": {{"exchange": "", "routing_key": "{task.queue.value}"}},'
            f' "delivery_tag": "{batch}.{task_id}", {self._properties}}}}}'
        )

    def _sent_events(self, written: Sequence["_Written"]) -> str:
        """Return the message of several events "task-sent".

        See Celery's documentation, "Event Reference"; a worker sends its own events so, too.
        """
        # What is the same for all that go out now.
        now = (
            f'"timestamp": {time.time()}, "hostname": {self._hostname}, "pid": {os.getpid()},'
            f' "utcoffset": {utcoffset()}'
        )
        events = f"[{', '.join([self._sent_event(each, now) for each in written])}]"
        return json.dumps(
            {
                "body": b64encode(events.encode()).decode(),
                "content-encoding": "utf-8",
                "content-type": "application/json",
                "headers": {"hostname": self._origin},
                "properties": {
                    "delivery_mode": 1,
                    "delivery_info": {"exchange": self._exchange, "routing_key": _EVENTS_ROUTE},
                    "priority": 0,
                    "body_encoding": "base64",
                    "delivery_tag": str(uuid.uuid4()),
                },
            }
        )

    def _sent_event(self, written: "_Written", now: str) -> str:
        task = written.task
        # The name is for monitors; the message's header says what Celery runs.
        return (
            f'{{"type": "task-sent", {now}, "clock": {self._clock.forward()},'
            f' "uuid": "{task.task_id}", "root_id": "{task.task_id}", "parent_id": null,'
            f' "name": {written.type}, "args": {written.arguments},'
            ' "kwargs": "{}", "retries": 0, "eta": null, "expires": null, "exchange": "",'
            f' "queue": "{task.queue.value}", "routing_key": "{task.queue.value}"}}'
        )


class _Written:
    """A task, and as JSON what monitors show of it: its type as name, id and title as arguments."""

    __slots__ = ("arguments", "task", "type")

    def __init__(self, task: TaskMessage) -> None:
        self.task = task
        self.type = _type_json(task.type)
        self.arguments = json.dumps(f"({task.task_id}, {task.title!r})")


# There are as many as handlers.
_type_json = lru_cache(maxsize=1000)(json.dumps)


def dispatched_at(message: bytes) -> datetime:
    """Return when a message was dispatched.

    One that is not ours, or broken, counts as just as old as time itself: what lies behind it
    cannot be judged before a worker has taken it away.
    """
    try:
        at = datetime.fromisoformat(json.loads(message)["headers"][DISPATCHED_AT])
    except (ValueError, KeyError, TypeError, RecursionError):
        return BEGINNING
    # One without a zone could not be compared.
    return at if at.tzinfo else BEGINNING
