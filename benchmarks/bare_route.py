"""The same routes without database and broker: what FastAPI alone can do, in its fastest form.

A body is checked by the service's own model; an answer has the same fields, is written at each
request, and sent as a ready response.
"""

from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic_core import to_json

from app.api.requests import TaskCreate

app = FastAPI()


def task(title: str, description: str | None, status: str) -> dict[str, Any]:
    """Return a task with all the fields of the service's answer."""
    now = datetime.now(UTC)
    then = now if status == "COMPLETED" else None
    return {
        "id": 1,
        "title": title,
        "description": description,
        "priority": "MEDIUM",
        "status": status,
        "created_at": now,
        "started_at": then,
        "completed_at": then,
        "result": None,
        "error_info": None,
        "type": "noop",
        "payload": {},
        "queue": "medium",
        "attempt": 0,
        "max_attempts": 1,
        "backoff": {"initial_seconds": 1.0, "factor": 2.0, "max_seconds": 300.0, "jitter": True},
        "timeout_seconds": 3600.0,
        "run_at": now,
        "updated_at": now,
        "cancel_requested_at": None,
        "worker": None,
        "progress": 0.0,
        "progress_note": None,
    }


_ONE = task("Monthly report", "Collect the figures of November", "COMPLETED")


def created(body: TaskCreate) -> Response:
    """Return the answer to a task that was created."""
    answer = task(body.title, body.description, "NEW")
    return Response(to_json(answer), 201, {"Location": "/tasks/1"}, "application/json")


@app.post("/tasks/", status_code=201)
async def create(body: TaskCreate) -> Response:
    """Check a task and answer with it."""
    return created(body)


@app.get("/tasks/{task_id}")
async def read(task_id: int) -> Response:
    """Answer with a task."""
    return Response(to_json(_ONE), media_type="application/json")


@app.get("/tasks/")
async def page() -> Response:
    """Answer with a hundred tasks."""
    return Response(to_json([_ONE] * 100), media_type="application/json")
