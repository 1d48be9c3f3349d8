"""What routes are given: the process's connections, and the checks that every body passes."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Path, Request

from app.broker.publisher import Publisher
from app.db.engine import Database
from app.services.health import Health
from app.services.lifecycle.dispatch import Dispatcher

# What PostgreSQL's bigint can hold; a larger number names no task.
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Resources:
    """What one API process holds open for its lifetime."""

    database: Database
    publisher: Publisher
    dispatcher: Dispatcher
    health: Health


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


Service = Annotated[Resources, Depends(_resources)]
TaskId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="The task's id")]


def require_json(request: Request) -> None:
    """Refuse a body that does not say it is JSON (RFC 9110, section 15.5.16).

    Raises:
        HTTPException: 415.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not (media_type == "application/json" or media_type.endswith("+json")):
        said = f"{media_type!r:.100}" if media_type else "nothing"
        raise HTTPException(
            415, f"Send the body as JSON, with Content-Type: application/json; it said {said}."
        )
