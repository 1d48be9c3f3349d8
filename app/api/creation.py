"""The routes that create tasks, which are asked for most and take the shortest way."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.api.body_route import BodyRoute
from app.api.dependencies import resources_of
from app.api.rendering import task_json
from app.api.requests import BrokenTaskCreate, RetryTaskCreate, TaskCreate
from app.api.responses import problems
from app.api.schemas import TaskOut
from app.domain.task import Task
from app.handlers import trouble
from app.services import tasks as service
from app.services.drafts import Draft

router = APIRouter(tags=["tasks"], route_class=BodyRoute)

_CREATED: dict[str, Any] = {
    "status_code": 201,
    "response_model": TaskOut,
    "responses": {
        201: {
            "description": "The task, stored for good",
            "headers": {"Location": {"schema": {"type": "string"}, "description": "The task"}},
        },
        **problems(503, body=True),
    },
}
_TROUBLE: dict[str, Any] = {
    **_CREATED,
    "responses": {**_CREATED["responses"], **problems(403, 503, body=True)},
}


@router.post("/tasks/", summary="Create a task", **_CREATED)
@router.post("/tasks", include_in_schema=False, **_CREATED)
async def create(request: Request, body: TaskCreate) -> Response:
    """Store a task and queue it: at once, or when its time has come."""
    with_ = resources_of(request)
    size = len(await request.body())
    return _created(await service.create_task(with_.writer, with_.settings, body.draft(), size))


@router.post("/tasks/broken", summary="Create a task that fails", **_TROUBLE)
async def create_broken(request: Request, body: BrokenTaskCreate) -> Response:
    """Store a task that fails for certain, for testing with."""
    draft = body.draft(type=trouble.BROKEN, payload={"force_error": body.force_error})
    return await _create_trouble(request, draft)


@router.post("/tasks/retry", summary="Create a task that is retried", **_TROUBLE)
async def create_retry(request: Request, body: RetryTaskCreate) -> Response:
    """Store a task that fails `retry_count` times, is retried each time, and then completes."""
    draft = body.draft(
        type=trouble.RETRY,
        payload={"retry_count": body.retry_count},
        max_attempts=body.retry_count + 1,
    )
    return await _create_trouble(request, draft)


async def _create_trouble(request: Request, draft: Draft) -> Response:
    with_ = resources_of(request)
    size = len(await request.body())
    return _created(await service.create_trouble(with_.writer, with_.settings, draft, size))


def _created(task: Task) -> Response:
    place = {"Location": f"/tasks/{task.id}"}
    return Response(task_json(task), 201, place, "application/json")
