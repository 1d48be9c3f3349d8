"""The routes about the service itself: what it is, whether it works, what it measures."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app import __version__
from app.api.dependencies import Service
from app.api.problems import RETRY_AFTER_SECONDS, problem
from app.api.responses import health_problem, problems
from app.api.schemas import HealthOut
from app.services.monitoring import refresh_gauges

router = APIRouter(tags=["service"])


@router.get("/", summary="What this is", responses=problems())
async def root() -> dict[str, Any]:
    """Return the service's name, its version, and where to go from here."""
    return {
        "name": "Task Manager API",
        "version": __version__,
        "links": {
            "tasks": "/tasks/",
            "task_types": "/task-types/",
            "docs": "/docs",
            "openapi": "/openapi.json",
            "health": "/health",
            "metrics": "/metrics",
        },
    }


@router.get(
    "/health",
    summary="Whether the service works",
    response_model=HealthOut,
    responses=health_problem(),
)
async def health(request: Request, resources: Service) -> Response:
    """Ask the database, the broker and the workers, each with a bounded wait.

    `oldest_waiting` tells which task has waited longest among those that are due. However long
    that is, it is no fault of its own.
    """
    checks = await resources.health.check()
    states = {
        name: {
            "ok": check.ok,
            "milliseconds": check.milliseconds,
            "detail": check.detail,
            **check.facts,
        }
        for name, check in checks.items()
    }
    away = [name for name, check in checks.items() if not check.ok]
    if not away:
        return JSONResponse({"status": "ok", "checks": states})
    detail = "; ".join(f"{name}: {checks[name].detail}" for name in away)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return problem(request, 503, detail, headers=headers, checks=states)


@router.get("/health/live", summary="Whether the process answers", responses=problems())
async def live() -> dict[str, str]:
    """Answer, whatever else is away."""
    return {"status": "ok"}


@router.get(
    "/metrics",
    summary="Measurements for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(),
    },
)
def metrics(resources: Service) -> Response:
    """Return what this process counted, and the state of tasks, queues and workers."""
    refresh_gauges(resources.database, resources.publisher)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
