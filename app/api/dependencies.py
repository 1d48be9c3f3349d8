"""What routes are given: the process's connections, and the ids in their paths."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from app.api.pages import Pages
from app.broker.loop_publisher import LoopPublisher
from app.broker.publisher import Publisher
from app.db.engine import Database
from app.services.health import Health
from app.services.lifecycle.dispatch import Dispatcher
from app.services.reading import Reader
from app.services.tasks import Writer
from app.settings import Settings

# What PostgreSQL's bigint can hold; a larger number names no task.
LARGEST_ID = 2**63 - 1
_WHOLE_NUMBER = re.compile("-?[0-9]+")


@dataclass(frozen=True, slots=True)
class Resources:
    """What one API process holds open for its lifetime."""

    # For what runs in threads, and for what runs in the event loop.
    database: Database
    loop_database: Database
    publisher: Publisher
    loop_publisher: LoopPublisher
    dispatcher: Dispatcher
    writer: Writer
    reader: Reader
    pages: Pages
    health: Health
    settings: Settings


def resources_of(request: Request) -> Resources:
    """Return what this process holds open."""
    resources: Resources = request.app.state.resources
    return resources


async def _resources(request: Request) -> Resources:
    # Not `def`, which FastAPI would hand to a thread, for longer than all the rest takes.
    return resources_of(request)


Service = Annotated[Resources, Depends(_resources)]


def _digits_alone(value: str) -> str:
    """Refuse what is a number to Python, but no task's id: ` 1`, `1_0`, `1.0`, `+1`.

    Raises ValueError.
    """
    if not _WHOLE_NUMBER.fullmatch(value):
        raise PydanticCustomError(
            "int_parsing", "Input should be a valid integer, unable to parse string as an integer"
        )
    return value


TaskId = Annotated[
    int,
    Path(ge=1, le=LARGEST_ID, description="The task's id"),
    BeforeValidator(_digits_alone),
]
