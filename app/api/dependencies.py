"""What routes are given: the process's connections, and the checks that every body passes."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Path, Request

from app.broker.publisher import Publisher
from app.db.engine import Database
from app.services.health import Health
from app.services.lifecycle.dispatch import Dispatcher
from app.settings import Settings

# What PostgreSQL's bigint can hold; a larger number names no task.
LARGEST_ID = 2**63 - 1
_JSON_TYPE = re.compile(r"application/(json|.+\+json)")


@dataclass(frozen=True, slots=True)
class Resources:
    """What one API process holds open for its lifetime."""

    database: Database
    publisher: Publisher
    dispatcher: Dispatcher
    health: Health
    settings: Settings


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


Service = Annotated[Resources, Depends(_resources)]
TaskId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="The task's id")]


async def require_json(request: Request) -> None:
    """Refuse a body that does not say it is JSON (RFC 9110, section 15.5.16), or is not UTF-8.

    Raises:
        HTTPException: 415, or 400.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not _JSON_TYPE.fullmatch(media_type):
        said = f"{media_type!r:.100}" if media_type else "nothing"
        raise HTTPException(
            415, f"Send the body as JSON, with Content-Type: application/json; it said {said}."
        )
    body = await request.body()
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise HTTPException(400) from error
    if b"\0" in body:
        # UTF-16 or UTF-32, which Python's json takes and RFC 8259, section 8.1, does not.
        raise HTTPException(400)
