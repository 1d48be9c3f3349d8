"""The routes that change tasks. What creates them: `app.api.creation`; reads: `app.api.reading`.

Each reads the request, calls one use case and writes its answer.
"""

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from app.api.body_route import require_json
from app.api.dependencies import Service, TaskId
from app.api.rendering import task_json
from app.api.requests import TaskUpdate
from app.api.responses import problems
from app.api.schemas import TaskOut
from app.domain.status import Status
from app.domain.task import Task
from app.services import tasks as service
from app.services.lifecycle.cancel import cancel_task

router = APIRouter(tags=["tasks"])


def _answer(task: Task, status: int = 200) -> Response:
    return Response(task_json(task), status, media_type="application/json")


@router.put(
    "/tasks/{task_id}",
    summary="Change a task",
    response_model=TaskOut,
    dependencies=[Depends(require_json)],
    responses=problems(404, 503, body=True),
)
def update(task_id: TaskId, body: TaskUpdate, resources: Service) -> Response:
    """Change title, description or priority. A new priority moves a waiting task to its queue."""
    given = body.model_dump(include=body.model_fields_set)
    priority = given.pop("priority", None)
    changes = service.Changes(texts=given, priority=priority)
    return _answer(service.update_task(resources.database, resources.dispatcher, task_id, changes))


@router.delete(
    "/tasks/{task_id}",
    summary="Delete a task",
    status_code=204,
    responses=problems(404, 408, 413, 422, 503),
)
def delete(task_id: TaskId, resources: Service) -> Response:
    """Delete a task; one that runs is stopped."""
    service.delete_task(resources.database, task_id)
    return Response(status_code=204)


@router.post(
    "/tasks/{task_id}/cancel",
    summary="Cancel a task",
    response_model=TaskOut,
    responses={
        202: {"model": TaskOut, "description": "The task runs and is being stopped"},
        **problems(404, 408, 409, 413, 422, 503),
    },
)
def cancel(task_id: TaskId, resources: Service) -> Response:
    """Cancel a task: at once while it waits, within moments while it runs."""
    task = cancel_task(resources.database, task_id)
    return _answer(task, 200 if task.status is Status.CANCELLED else 202)


@router.post(
    "/tasks/{task_id}/retry",
    summary="Run a task again",
    response_model=TaskOut,
    responses=problems(404, 408, 409, 413, 422, 503),
)
def run_again(task_id: TaskId, resources: Service) -> Response:
    """Put a task that FAILED or was CANCELLED back in line; its history stays."""
    return _answer(service.run_again(resources.database, resources.dispatcher, task_id))
