"""What clients read of tasks: one by its id, or a page of those that fit a filter."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial

from app.db import reading as store
from app.db.engine import Database, in_event_loop
from app.db.reading import TaskText
from app.db.task_json import MARK, Terms
from app.domain.priority import Priority
from app.domain.retry import Backoff
from app.domain.status import Status
from app.errors import TaskNotFound
from app.handlers import registry
from app.services.batching import Batcher
from app.services.lanes import Lanes
from app.services.terms import type_terms
from app.settings import Settings, get_settings

Reader = Batcher[int, str]

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


def read_tasks(database: Database, task_ids: Sequence[int]) -> list[str | Exception]:
    """Return the JSON of each task, or TaskNotFound in its place. Raises DatabaseUnavailable."""
    with database.statement() as connection:
        found = store.read_many(connection, task_ids, _terms())
    return [
        _task_json(found[task_id]) if task_id in found else TaskNotFound(task_id)
        for task_id in task_ids
    ]


def _task_json(task: TaskText) -> str:
    return task.json if task.payload is None else _unmarked(task.json, [task.type], [task.payload])


def _unmarked(text: str, types: Sequence[str], payloads: Sequence[str]) -> str:
    """Return JSON with what may be shown of each payload in place of its mark."""
    if not payloads:
        return text
    first, *rest = text.split(MARK)
    parts = [first]
    for name, payload, part in zip(types, payloads, rest, strict=True):
        shown = registry.shown(name, json.loads(payload))
        parts += [json.dumps(shown, ensure_ascii=False), part]
    return "".join(parts)


@lru_cache(maxsize=1)
def _terms() -> Terms:
    """Return what the types that this process knows say of their tasks."""
    settings = get_settings()
    known = registry.all_types()
    of_each = {each.name: type_terms(each, settings) for each in known}
    return Terms(
        json.dumps({name: _backoff_json(terms.backoff) for name, terms in of_each.items()}),
        json.dumps({name: str(terms.limit_seconds) for name, terms in of_each.items()}),
        _backoff_json(Backoff()),
        float(settings.time_limit_seconds),
        tuple(each.name for each in known if not each.conceals),
    )


def _backoff_json(backoff: Backoff) -> str:
    return json.dumps(asdict(backoff))


@dataclass(frozen=True, slots=True)
class PageOf:
    """Which tasks to list. No values mean any; `before` means ids below it."""

    statuses: frozenset[Status]
    priorities: frozenset[Priority]
    before: int | None
    skip: int
    limit: int


@dataclass(frozen=True, slots=True)
class Page:
    """The JSON of some tasks, newest first, and where the next page starts, if there is one."""

    json: str
    next_before: int | None


async def list_tasks(database: Database, lanes: Lanes, wanted: PageOf) -> Page:
    """Return a page of tasks. `database` is one for the event loop.

    Raises DatabaseUnavailable, Overloaded.
    """
    return await lanes.run(partial(_page, database, wanted))


def _page(database: Database, wanted: PageOf) -> Page:
    with database.statement() as connection:
        page = store.read_page(
            connection,
            _terms(),
            statuses=wanted.statuses,
            priorities=wanted.priorities,
            before=wanted.before,
            skip=wanted.skip,
            limit=wanted.limit,
        )
    return Page(f"[{_unmarked(page.json, page.types, page.payloads)}]", page.next_before)
