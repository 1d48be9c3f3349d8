"""What goes from a worker's main process to its pool for each message."""

from types import SimpleNamespace
from typing import Any

from celery import Celery
from celery.app.task import Context
from celery.worker.request import create_request_cls
from kombu.utils.uuid import uuid

from app.broker.configuration import RUN_TASK
from app.worker.request import Request
from app.worker.run_task import register


def test_the_pool_gets_what_it_needs_and_no_more() -> None:
    app = Celery(set_as_current=False)
    register(app)
    sent: list[Any] = []
    pool = SimpleNamespace(apply_async=lambda *args, **options: sent.append((args, options)))
    headers = {
        "id": "7",
        "task": RUN_TASK,
        "shadow": "sleep",
        "root_id": "7",
        "argsrepr": "(7, 'a title')" * 20,
        "dispatched_at": "2026-11-25T00:08:45+00:00",
        "timelimit": [None, None],
        "ignore_result": True,
    }
    message = SimpleNamespace(
        headers=headers,
        body=b"[[7], {}, {}]",
        payload=[[7], {}, {"callbacks": [{"task": "evil"}], "chain": None}],
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info={"exchange": "", "routing_key": "high"},
        properties={"correlation_id": uuid(), "priority": 0},
    )
    task = app.tasks[RUN_TASK]
    # Celery finds the class by the name that the task gives.
    assert task.Request == f"{Request.__module__}:{Request.__name__}"
    request = create_request_cls(Request, task, pool, "w@test", None, app=app)(
        message, app=app, hostname="w@test", task=task, headers=headers
    )

    request.execute_using_pool(pool)

    ((_, options),) = sent
    name, task_id, context, body, content_type, encoding = options["args"]
    assert (name, task_id, content_type, encoding) == (RUN_TASK, "7", None, None)
    assert body == ([7], {}, None)
    assert Context(context).delivery_info["routing_key"] == "high"
    assert Context(context).ignore_result is True
    assert Context(context).headers == {}
    assert Context(context).shadow == "sleep"
    assert not {"argsrepr", "dispatched_at", "properties"} & set(context)
    # The main process, which tells monitors of the task, still has all of it.
    assert (request.name, request.argsrepr) == ("sleep", headers["argsrepr"])
    assert options["correlation_id"] == "7"
