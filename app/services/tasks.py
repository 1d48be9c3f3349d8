"""What clients do with tasks: create, read, list, change, delete."""

from dataclasses import dataclass, field

from app.db import tasks as store
from app.db.engine import Connection, Database
from app.domain.priority import Priority
from app.domain.status import WAITING, Status
from app.domain.task import Task
from app.errors import TaskNotEndedBadly, TaskNotFound, TroubleNotAllowed
from app.services.drafts import Draft, new_task
from app.services.lifecycle.dispatch import Dispatcher
from app.settings import Settings


def create_task(
    database: Database, dispatcher: Dispatcher, settings: Settings, draft: Draft
) -> Task:
    """Create a task. Raises InvalidTask, DatabaseUnavailable."""
    new = new_task(draft, settings)
    with database.transaction() as connection:
        task = store.insert_task(connection, new)
    # Only now, after the commit: a worker must find the row that its message names.
    if task.run_at <= task.created_at:
        dispatcher.offer(task)
    return task


def create_trouble(
    database: Database, dispatcher: Dispatcher, settings: Settings, draft: Draft
) -> Task:
    """Create a task that makes trouble on purpose.

    Raises TroubleNotAllowed, InvalidTask, DatabaseUnavailable.
    """
    if not settings.trouble_types:
        raise TroubleNotAllowed
    return create_task(database, dispatcher, settings, draft)


def get_task(database: Database, task_id: int) -> Task:
    """Return a task. Raises TaskNotFound, DatabaseUnavailable."""
    with database.statement() as connection:
        task = store.get(connection, task_id)
    if task is None:
        raise TaskNotFound(task_id)
    return task


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks to list. Empty lists mean any; `before` means ids below it."""

    statuses: list[Status] = field(default_factory=list)
    priorities: list[Priority] = field(default_factory=list)
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some tasks, newest first, and where the next page starts, if there is one."""

    tasks: list[Task]
    next_before: int | None


def list_tasks(database: Database, wanted: Filter, *, skip: int, limit: int) -> Page:
    """Return a page of up to `limit` tasks. Raises DatabaseUnavailable."""
    with database.transaction() as connection:
        # One more than asked for tells whether there is a next page.
        query = store.page_query(
            statuses=wanted.statuses,
            priorities=wanted.priorities,
            before=wanted.before,
            skip=skip,
            limit=limit + 1,
        )
        tasks = store.list_page(connection, query)
    if len(tasks) <= limit:
        return Page(tasks, None)
    return Page(tasks[:limit], tasks[limit - 1].id)


@dataclass(frozen=True, slots=True)
class Changes:
    """What to change of a task: the fields that were given, title, description or priority."""

    texts: dict[str, str | None]
    priority: Priority | None


def update_task(database: Database, dispatcher: Dispatcher, task_id: int, changes: Changes) -> Task:
    """Change a task and return it; a waiting one moves to its new priority's queue at once.

    Raises TaskNotFound, DatabaseUnavailable.
    """
    with database.transaction() as connection:
        # The lock keeps a claim from coming between the look at the status and the change.
        before = store.lock(connection, task_id)
        if before is None:
            raise TaskNotFound(task_id)
        task = before
        if changes.texts:
            task = store.set_fields(connection, task_id, **changes.texts) or task
        moves = changes.priority is not None and changes.priority is not before.priority
        if changes.priority is not None and moves:
            task = _set_priority(connection, task, changes.priority) or task
    # One that waits for its next attempt is published when that is due.
    if moves and task.status in WAITING and task.run_at <= task.updated_at:
        dispatcher.offer(task)
    return task


def _set_priority(connection: Connection, task: Task, priority: Priority) -> Task | None:
    if task.status in WAITING:
        return store.move_waiting(connection, task.id, priority)
    if task.status is Status.IN_PROGRESS:
        return store.move_running(connection, task.id, priority)
    return store.set_fields(connection, task.id, priority=priority.value)


def run_again(database: Database, dispatcher: Dispatcher, task_id: int) -> Task:
    """Run a FAILED or CANCELLED task again and return it, PENDING.

    Raises TaskNotFound, TaskNotEndedBadly, DatabaseUnavailable.
    """
    with database.transaction() as connection:
        # The lock keeps two of these from both succeeding.
        before = store.lock(connection, task_id)
        if before is None:
            raise TaskNotFound(task_id)
        task = store.run_again(connection, task_id)
        if task is None:
            raise TaskNotEndedBadly(task_id, before.status)
    dispatcher.offer(task)
    return task


def delete_task(database: Database, task_id: int) -> None:
    """Delete a task; a running one is stopped. Raises TaskNotFound, DatabaseUnavailable."""
    with database.statement() as connection:
        if not store.delete_task(connection, task_id):
            raise TaskNotFound(task_id)
