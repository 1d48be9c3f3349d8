"""The tables. Their constraints repeat the invariants, so that no bug can store a ghost.

Owns the schema that Alembic compares the database with; statements stand in the stores.
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.domain.history import AttemptOutcome
from app.domain.priority import Priority, QueueName
from app.domain.status import FINAL, UNFINISHED, WAITING, Status


def _sql_list(values: Any) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


_WAITING = _sql_list(WAITING)
_UNFINISHED = _sql_list(UNFINISHED)
_FINAL = _sql_list(FINAL)
_RAISED = "queue <> lower(priority)"


def is_raised() -> ColumnElement[bool]:
    """Return the condition that a task waits in another queue than its priority's own."""
    return TaskRow.queue != func.lower(TaskRow.priority)


class Base(DeclarativeBase):
    """Names every constraint by one rule, so that a migration can find it again."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB}


# What holds in every row, by name. The function `task_is_valid` says so, because PostgreSQL reads
# a CHECK anew for each statement and a function once for each connection: change it by a migration
# that replaces it.
TASK_RULES = {
    "title_length": "char_length(title) BETWEEN 1 AND 255",
    "status_known": f"status IN ({_sql_list(Status)})",
    "priority_known": f"priority IN ({_sql_list(Priority)})",
    "queue_known": f"queue IN ({_sql_list(QueueName)})",
    "lease": "(status = 'IN_PROGRESS') = (lease_expires_at IS NOT NULL)",
    "completed_at": f"(status IN ({_FINAL})) = (completed_at IS NOT NULL)",
    "running": "status <> 'IN_PROGRESS'"
    " OR (started_at IS NOT NULL AND worker IS NOT NULL AND attempt > 0)",
    "new_never_ran": "status <> 'NEW' OR attempt = 0",
    "cancel_requested": "cancel_requested_at IS NULL OR status IN ('CANCELLED', 'IN_PROGRESS')",
    "result_of_completed": "result IS NULL OR status = 'COMPLETED'",
    "failed_says_why": "status <> 'FAILED' OR error_info IS NOT NULL",
    "progress_range": "progress BETWEEN 0 AND 1",
    "attempt_range": "attempt BETWEEN 0 AND max_attempts",
    "timeout_positive": "timeout_seconds > 0",
}
# The columns that they speak of.
_RULED = (
    *("title", "priority", "status", "queue", "attempt", "max_attempts", "timeout_seconds"),
    *("started_at", "completed_at", "lease_expires_at", "worker", "cancel_requested_at"),
    *("progress", "result", "error_info"),
)


class TaskRow(Base):
    """A task, which is also its own outbox entry: `dispatched_at` is null until it is published."""

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    title: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    priority: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, server_default=Status.NEW.value)
    type: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    # Where it waits: its priority's queue, or a more urgent one once it has waited long.
    queue: Mapped[str] = mapped_column(Text)
    # The number of the latest attempt; the fence that an attempt's writes are guarded by.
    attempt: Mapped[int] = mapped_column(Integer, server_default="0")
    max_attempts: Mapped[int] = mapped_column(Integer, server_default="1")
    # Attempts that ended in an error of the handler, and attempts that ended with their process.
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    crashes: Mapped[int] = mapped_column(Integer, server_default="0")
    # The pauses between attempts and the longest attempt, where they are not the type's own.
    backoff: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    timeout_seconds: Mapped[float | None] = mapped_column(Float)
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Since when it waits for a worker that knows its type.
    set_aside_at: Mapped[datetime | None]
    dispatched_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    lease_expires_at: Mapped[datetime | None]
    # The process that runs or last ran it, as NODE/PID.
    worker: Mapped[str | None] = mapped_column(Text)
    cancel_requested_at: Mapped[datetime | None]
    progress: Mapped[float] = mapped_column(Float, server_default="0")
    progress_note: Mapped[str | None] = mapped_column(Text)
    result: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    error_info: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        CheckConstraint(f"task_is_valid({', '.join(_RULED)})", "valid"),
        # What is to be published, in that order: new tasks, due retries, tasks that changed their
        # queue.
        Index(
            "ix_tasks_undispatched_queue",
            "queue",
            "run_at",
            "id",
            postgresql_where=text(f"status IN ({_WAITING}) AND dispatched_at IS NULL"),
        ),
        # What should have a message in Redis, oldest first, for finding lost messages.
        Index(
            "ix_tasks_dispatched",
            "queue",
            "dispatched_at",
            postgresql_where=text("status = 'PENDING' AND dispatched_at IS NOT NULL"),
        ),
        # What waits, by how long it has waited, for raising the queue of the patient.
        Index(
            "ix_tasks_waiting",
            "queue",
            "run_at",
            postgresql_where=text(f"status IN ({_WAITING})"),
        ),
        # The few that were raised to a more urgent queue.
        Index(
            "ix_tasks_raised",
            "queue",
            postgresql_where=text(f"{_RAISED} AND status IN ({_UNFINISHED})"),
        ),
        # What runs, by the end of its lease, for rescue.
        Index(
            "ix_tasks_lease",
            "lease_expires_at",
            postgresql_where=text("status = 'IN_PROGRESS'"),
        ),
        # What has ended, in the order in which it did, for retention. Only an end sets the time.
        Index(
            "ix_tasks_completed_at",
            "completed_at",
            postgresql_where=text("completed_at IS NOT NULL"),
        ),
        # The documented filters of the list, in the list's own order (`app.db.reading`).
        Index("ix_tasks_status_priority_id", "status", "priority", "id"),
    )


class TaskEventRow(Base):
    """One line of a task's timeline, written in the transaction that made the change.

    Lines and attempts go with their task by a trigger, `tasks_forget_history`. Whatever writes one
    has changed the task in the same statement, so that none can be left behind.
    """

    __tablename__ = "task_events"

    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    # When the line was written, not when its transaction began: that may have waited for the change
    # before it, and the times are to be in the order of the lines.
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    event: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer)
    detail: Mapped[str | None] = mapped_column(Text)


class TaskAttemptRow(Base):
    """An attempt that has ended, written in the transaction that ended it.

    The one that runs is in the task's own row, so that a claim costs no line here.
    """

    __tablename__ = "task_attempts"

    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    worker: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime] = mapped_column(server_default=func.now())
    outcome: Mapped[str] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        CheckConstraint(f"outcome IN ({_sql_list(AttemptOutcome)})", "outcome_known"),
    )


class TaskLogRow(Base):
    """A line that an attempt's handler logged; numbered, so that none is stored twice."""

    __tablename__ = "task_logs"

    task_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True
    )
    attempt: Mapped[int] = mapped_column(Integer, primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime]
    level: Mapped[str] = mapped_column(Text)
    message: Mapped[str] = mapped_column(Text)


class WorkerRow(Base):
    """A worker node that is alive, by its own word; a silent one is forgotten after a while."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    concurrency: Mapped[int] = mapped_column(Integer)
    # The task types that it knows; null for a worker of a version that does not say.
    types: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
