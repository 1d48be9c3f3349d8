"""Tasks in the database for the tests of the stores, each made by the service's own transitions."""

from datetime import datetime

from sqlalchemy import text

from app.db import attempts, creation, maintenance, tasks
from app.db.attempts import Failure
from app.db.engine import Connection, Database
from app.domain.priority import Priority, QueueName
from app.domain.status import Status
from app.domain.task import ClaimedTask, NewTask, Task, TaskMessage

NEW = NewTask("a task", None, Priority.MEDIUM, "simulated_work", {}, 3)
WORKER = "worker@test/1"
# What a worker knows, and what an older one knows.
TYPES, OLDER = ["simulated_work"], ["another_type"]
BROKEN = Failure("broken", "Traceback: broken")


def create(connection: Connection) -> Task:
    return creation.insert_task(connection, NEW)


def claimed(connection: Connection) -> ClaimedTask:
    task = attempts.claim(connection, create(connection).id, QueueName.MEDIUM, WORKER, 15, TYPES)
    assert task is not None
    return task


def put_in(connection: Connection, status: Status) -> Task:
    """Return a task that has reached a status by the service's own transitions."""
    match status:
        case Status.NEW:
            return create(connection)
        case Status.PENDING:
            task = create(connection)
            maintenance.mark_dispatched(connection, [message(task)])
        case Status.IN_PROGRESS:
            task = claimed(connection)
        case Status.COMPLETED:
            task = claimed(connection)
            attempts.complete(connection, task, "done")
        case Status.FAILED:
            task = claimed(connection)
            attempts.fail(connection, task, BROKEN)
        case Status.CANCELLED:
            task = create(connection)
            tasks.cancel_waiting(connection, task.id)
    return read(connection, task.id)


def read(connection: Connection, task_id: int) -> Task:
    task = tasks.get(connection, task_id)
    assert task is not None
    return task


def now(connection: Connection) -> datetime:
    return connection.execute(text("SELECT now()")).scalar_one()


def message(task: Task) -> TaskMessage:
    return TaskMessage(task.id, task.queue, task.type, task.title, task.updated_at)


def everything(connection: Connection, *task_ids: int) -> list[object]:
    """Return all that is stored of these tasks."""
    tables = ("tasks", "task_events", "task_attempts", "task_logs")
    return [
        row
        for table in tables
        for row in connection.execute(
            text(
                f"SELECT '{table}', to_jsonb(t)::text FROM {table} t"
                f" WHERE {'id' if table == 'tasks' else 'task_id'} = ANY(:ids) ORDER BY 2"
            ),
            {"ids": list(task_ids)},
        )
    ]


# Workers that have said nothing for so many seconds know nothing.
SILENT = 15


def reindex(database: Database) -> None:
    """Rid the table's indexes of what other tests have rolled back.

    They are large and all but empty then, and dear in the planner's eyes.
    """
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("REINDEX TABLE CONCURRENTLY tasks"))
