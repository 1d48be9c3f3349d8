"""The route that all of them have: the same body and answer as the bare one, and work handed on."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import Response

from app.api.requests import TaskCreate
from benchmarks.bare_route import created

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def nothing(app: FastAPI) -> AsyncIterator[None]:
    """Need nothing while the application runs."""
    yield


def application(hand_on: Callable[[], Awaitable[object]], lifespan: Lifespan = nothing) -> FastAPI:
    """Return an application that answers once `hand_on` has given a task to its queue."""
    app = FastAPI(lifespan=lifespan)

    @app.post("/tasks/", status_code=201)
    async def create(body: TaskCreate) -> Response:
        await hand_on()
        return created(body)

    return app
