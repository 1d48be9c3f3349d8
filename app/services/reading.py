"""What clients read of tasks: one by its id, or a page of those that fit a filter."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from app.db import reading as store
from app.db.engine import Database, in_event_loop
from app.db.reading import TaskTexts
from app.domain.priority import Priority
from app.domain.status import Status
from app.errors import TaskNotFound
from app.services.batching import Batcher
from app.services.lanes import Lanes
from app.settings import Settings

Reader = Batcher[int, TaskTexts]

# More at once would make each of them wait for the others' bodies.
_MOST_AT_ONCE = 100


def open_reader(database: Database, settings: Settings) -> Reader:
    """Return what reads single tasks for one API process, all that are asked for at once.

    Each is read after it was asked for. `database` is one for the event loop.
    """
    return Batcher(
        partial(in_event_loop, read_tasks, database),
        most_waiting=settings.max_waiting_reads,
        most_at_once=_MOST_AT_ONCE,
        most_weight=settings.max_waiting_reads,
        patience_seconds=settings.database_timeout_seconds,
        weigh=lambda task_id: 1,  # noqa: ARG005 - each is as heavy as the other
        is_hopeless=lambda: database.is_silent,
    )


def read_tasks(database: Database, task_ids: Sequence[int]) -> list[TaskTexts | Exception]:
    """Return each task, or TaskNotFound in its place. Raises DatabaseUnavailable."""
    with database.statement() as connection:
        found = store.read_many(connection, task_ids)
    return [found.get(task_id) or TaskNotFound(task_id) for task_id in task_ids]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks to list. Empty lists mean any; `before` means ids below it."""

    statuses: list[Status] = field(default_factory=list)
    priorities: list[Priority] = field(default_factory=list)
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some tasks, newest first, and where the next page starts, if there is one."""

    tasks: list[TaskTexts]
    next_before: int | None


async def list_tasks(
    database: Database, lanes: Lanes, wanted: Filter, *, skip: int, limit: int
) -> Page:
    """Return a page of up to `limit` tasks. `database` is one for the event loop.

    Raises DatabaseUnavailable, Overloaded.
    """
    return await lanes.run(partial(_page, database, wanted, skip, limit))


def _page(database: Database, wanted: Filter, skip: int, limit: int) -> Page:
    with database.statement() as connection:
        # One more than asked for tells whether there is a next page.
        tasks = store.read_page(
            connection,
            statuses=wanted.statuses,
            priorities=wanted.priorities,
            before=wanted.before,
            skip=skip,
            limit=limit + 1,
        )
    if len(tasks) <= limit:
        return Page(tasks, None)
    return Page(tasks[:limit], tasks[limit - 1].id)
