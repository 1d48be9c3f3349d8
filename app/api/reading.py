"""The routes that read tasks, which those who poll ask for again and again."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from app.api.conditional import answer, tagged
from app.api.dependencies import LARGEST_ID, TaskId, resources_of
from app.api.listing import comma_separated, next_page_link
from app.api.responses import CONDITIONAL, LINK, NOT_MODIFIED, problems
from app.api.schemas import TaskOut
from app.domain.priority import Priority
from app.domain.status import Status
from app.services.reading import PageOf

# As many digits as every id that there can be has at most.
_DIGITS = 18


class ReadRoute(APIRoute):
    """Takes the shortest way for a plain id or no parameters at all, and FastAPI's for the rest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of this route's requests."""
        usual = super().get_route_handler()
        endpoint: Callable[..., Coroutine[Any, Any, Response]] = self.endpoint

        async def handle(request: Request) -> Response:
            if request.scope["query_string"]:
                return await usual(request)
            if not request.path_params:
                return await endpoint(request)
            task_id: str = request.path_params["task_id"]
            if task_id.isascii() and task_id.isdigit() and len(task_id) <= _DIGITS:
                number = int(task_id)
                if number:
                    return await endpoint(request, number)
            return await usual(request)

        return handle


router = APIRouter(tags=["tasks"], route_class=ReadRoute)


@router.get(
    "/tasks/{task_id}",
    summary="Read a task",
    response_model=TaskOut,
    responses={
        200: {"description": "The task", "headers": CONDITIONAL},
        **NOT_MODIFIED,
        **problems(404, 422, 503),
    },
)
async def read(request: Request, task_id: TaskId) -> Response:
    """Return a task with its status, times, result and error."""
    task = await resources_of(request).reader.submit(task_id)
    return answer(request, tagged(task.encode()))


_LISTED: dict[str, Any] = {
    "response_model": list[TaskOut],
    "responses": {
        200: {"description": "Tasks, newest first", "headers": {**LINK, **CONDITIONAL}},
        **NOT_MODIFIED,
        **problems(422, 503),
    },
}


@router.get("/tasks/", summary="List tasks", **_LISTED)
@router.get("/tasks", include_in_schema=False, **_LISTED)
async def list_tasks(
    request: Request,
    status: Annotated[
        list[Status], comma_separated(), Query(description="Only these; several may be given")
    ] = [],  # noqa: B006 - FastAPI copies the default
    priority: Annotated[
        list[Priority], comma_separated(), Query(description="Only these; several may be given")
    ] = [],  # noqa: B006 - FastAPI copies the default
    limit: Annotated[
        int,
        Query(ge=1, le=1000, description="The most to return; fewer come where tasks are large"),
    ] = 100,
    skip: Annotated[int, Query(ge=0, le=LARGEST_ID, description="How many to leave out")] = 0,
    before: Annotated[
        int | None, Query(ge=1, le=LARGEST_ID, description="Only ids below; as in the Link header")
    ] = None,
) -> Response:
    """Return tasks, newest first. The Link header leads through all of them, page by page."""
    wanted = PageOf(frozenset(status), frozenset(priority), before, skip, limit)
    found, next_before = await resources_of(request).pages.get(wanted)
    links = {}
    if next_before is not None:
        links["Link"] = next_page_link(request, before=next_before)
    return answer(request, found, links)
