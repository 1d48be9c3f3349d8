"""What clients do with tasks: create, read, list, change, delete."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from app.db import creation
from app.db import tasks as store
from app.db.engine import Connection, Database, in_event_loop
from app.domain.priority import Priority
from app.domain.status import WAITING, Status
from app.domain.task import NewTask, Task
from app.errors import (
    StatementRefused,
    TaskNotEndedBadly,
    TaskNotFound,
    TroubleNotAllowed,
    Unavailable,
)
from app.services.batching import Batcher
from app.services.drafts import Draft, is_checked_quickly, new_task
from app.services.lifecycle.dispatch import Dispatcher
from app.settings import Settings

Writer = Batcher[NewTask, Task]

# A body of more bytes than that may take long to check, and would keep everybody waiting.
_QUICK_BYTES = 8192


async def create_task(writer: Writer, settings: Settings, draft: Draft, size: int) -> Task:
    """Create a task, described in a body of so many bytes.

    Raises InvalidTask, DatabaseUnavailable, Overloaded.
    """
    if size <= _QUICK_BYTES and is_checked_quickly(draft):
        new = new_task(draft, settings)
    else:
        new = await asyncio.to_thread(new_task, draft, settings)
    return await writer.submit(new)


async def create_trouble(writer: Writer, settings: Settings, draft: Draft, size: int) -> Task:
    """Create a task that makes trouble on purpose.

    Raises TroubleNotAllowed, InvalidTask, DatabaseUnavailable, Overloaded.
    """
    if not settings.trouble_types:
        raise TroubleNotAllowed
    return await create_task(writer, settings, draft, size)


def open_writer(database: Database, dispatcher: Dispatcher, settings: Settings) -> Writer:
    """Return what stores the new tasks of one API process, whatever their number, in batches.

    `database` is one for the event loop.
    """
    return Batcher(
        partial(in_event_loop, create_tasks, database, dispatcher),
        most_waiting=settings.max_waiting_writes,
        most_at_once=_MOST_AT_ONCE,
        most_weight=_MOST_BYTES,
        patience_seconds=settings.database_timeout_seconds,
        weigh=lambda new: new.size,
        is_hopeless=lambda: database.is_silent,
    )


# A batch of more tasks gains nothing, and its answers would be late. Texts of more bytes than that
# are not kept waiting in memory, in all.
_MOST_AT_ONCE = 200
_MOST_BYTES = 64 * 1024 * 1024


def create_tasks(
    database: Database, dispatcher: Dispatcher, new: Sequence[NewTask]
) -> list[Task | Exception]:
    """Create tasks, all of them in one commit; return each, or why it could not be stored.

    Raises DatabaseUnavailable: nothing is known to be stored.
    """
    try:
        with database.statement() as connection:
            tasks = creation.insert_tasks(connection, new)
    except StatementRefused as error:
        if len(new) == 1:
            return [error]
        # One of them is to blame, and the others are not to suffer for it.
        return [_create_alone(database, dispatcher, one) for one in new]
    # Only now, after the commit: a worker must find the row that its message names.
    due = [task for task in tasks if task.run_at <= task.created_at]
    if due:
        dispatcher.offer(due)
    return list(tasks)


def _create_alone(database: Database, dispatcher: Dispatcher, new: NewTask) -> Task | Exception:
    try:
        (task,) = create_tasks(database, dispatcher, [new])
    except Unavailable as error:
        # Others of the batch may have been stored before.
        return error
    return task


def get_task(database: Database, task_id: int) -> Task:
    """Return a task. Raises TaskNotFound, DatabaseUnavailable."""
    with database.statement() as connection:
        task = store.get(connection, task_id)
    if task is None:
        raise TaskNotFound(task_id)
    return task


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
        dispatcher.offer([task])
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
    dispatcher.offer([task])
    return task


def delete_task(database: Database, task_id: int) -> None:
    """Delete a task; a running one is stopped. Raises TaskNotFound, DatabaseUnavailable."""
    with database.statement() as connection:
        if not store.delete_task(connection, task_id):
            raise TaskNotFound(task_id)
