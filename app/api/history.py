"""The routes of a task's past. Each calls one use case and writes its answer, page by page."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.api.dependencies import LARGEST_ID, Service, TaskId
from app.api.listing import next_page_link
from app.api.rendering import attempts_json, events_json, lines_json
from app.api.responses import LINK, problems
from app.api.schemas import AttemptOut, EventOut, LogLineOut
from app.services import history as service

router = APIRouter(tags=["history"])

# What PostgreSQL's integer can hold; no task has more attempts.
_LARGEST_ATTEMPT = 2**31 - 1
Limit = Annotated[int, Query(ge=1, le=1000, description="The most to return")]
Skip = Annotated[int, Query(ge=0, le=LARGEST_ID, description="How many to leave out")]
T = TypeVar("T")


def _listed(model: Any, what: str) -> dict[str, Any]:
    return {
        "response_model": list[model],
        "responses": {200: {"description": what, "headers": LINK}, **problems(404, 422, 503)},
    }


@router.get(
    "/tasks/{task_id}/attempts",
    summary="List a task's attempts",
    **_listed(AttemptOut, "Its attempts, first to last"),
)
def attempts(
    request: Request, task_id: TaskId, resources: Service, limit: Limit = 1000, skip: Skip = 0
) -> Response:
    """Return a task's attempts with worker, times, outcome and error; the running one included."""
    found = service.attempts_of(resources.database, task_id, skip=skip, limit=limit + 1)
    return _page(request, found, attempts_json, skip, limit)


@router.get(
    "/tasks/{task_id}/events",
    summary="Read a task's timeline",
    **_listed(EventOut, "What happened to it, oldest first"),
)
def events(
    request: Request, task_id: TaskId, resources: Service, limit: Limit = 1000, skip: Skip = 0
) -> Response:
    """Return every change of a task's status, and what else moved it, with reasons."""
    found = service.events_of(resources.database, task_id, skip=skip, limit=limit + 1)
    return _page(request, found, events_json, skip, limit)


@router.get(
    "/tasks/{task_id}/logs",
    summary="Read what a task's handler logged",
    **_listed(LogLineOut, "Its lines, oldest first"),
)
def logs(
    request: Request,
    task_id: TaskId,
    resources: Service,
    attempt: Annotated[
        int | None, Query(ge=1, le=_LARGEST_ATTEMPT, description="Only this attempt's")
    ] = None,
    limit: Limit = 1000,
    skip: Skip = 0,
) -> Response:
    """Return what the handler told its context's logger; a heartbeat late while it runs."""
    found = service.lines_of(
        resources.database, task_id, attempt=attempt, skip=skip, limit=limit + 1
    )
    return _page(request, found, lines_json, skip, limit)


def _page(
    request: Request,
    found: Sequence[T],
    render: Callable[[Sequence[T]], bytes],
    skip: int,
    limit: int,
) -> Response:
    """Answer with `limit` of what was found; one more than that means that there is a next page."""
    response = Response(render(found[:limit]), media_type="application/json")
    if len(found) > limit:
        response.headers["Link"] = next_page_link(request, skip=skip + limit)
    return response
