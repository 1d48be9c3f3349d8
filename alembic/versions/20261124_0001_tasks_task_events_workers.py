"""Tasks, their timeline, and the workers that are alive.

Revision: 0001
Revises:
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="NEW", nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column(
            "payload",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "run_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("progress", sa.Float(), server_default="0", nullable=False),
        sa.Column("progress_note", sa.Text(), nullable=True),
        sa.Column(
            "result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("error_info", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(status = 'IN_PROGRESS') = (lease_expires_at IS NOT NULL)", name=op.f("ck_tasks_lease")
        ),
        sa.CheckConstraint(
            "(status IN ('CANCELLED', 'COMPLETED', 'FAILED')) = (completed_at IS NOT NULL)",
            name=op.f("ck_tasks_completed_at"),
        ),
        sa.CheckConstraint(
            "cancel_requested_at IS NULL OR status IN ('CANCELLED', 'IN_PROGRESS')",
            name=op.f("ck_tasks_cancel_requested"),
        ),
        sa.CheckConstraint(
            "priority IN ('HIGH', 'LOW', 'MEDIUM')", name=op.f("ck_tasks_priority_known")
        ),
        sa.CheckConstraint("queue IN ('high', 'low', 'medium')", name=op.f("ck_tasks_queue_known")),
        sa.CheckConstraint(
            "result IS NULL OR status = 'COMPLETED'", name=op.f("ck_tasks_result_of_completed")
        ),
        sa.CheckConstraint(
            "status <> 'FAILED' OR error_info IS NOT NULL", name=op.f("ck_tasks_failed_says_why")
        ),
        sa.CheckConstraint(
            "status <> 'IN_PROGRESS'"
            " OR (started_at IS NOT NULL AND worker IS NOT NULL AND attempt > 0)",
            name=op.f("ck_tasks_running"),
        ),
        sa.CheckConstraint("status <> 'NEW' OR attempt = 0", name=op.f("ck_tasks_new_never_ran")),
        sa.CheckConstraint(
            "status IN ('CANCELLED', 'COMPLETED', 'FAILED', 'IN_PROGRESS', 'NEW', 'PENDING')",
            name=op.f("ck_tasks_status_known"),
        ),
        sa.CheckConstraint(
            "attempt BETWEEN 0 AND max_attempts", name=op.f("ck_tasks_attempt_range")
        ),
        sa.CheckConstraint(
            "char_length(title) BETWEEN 1 AND 255", name=op.f("ck_tasks_title_length")
        ),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name=op.f("ck_tasks_progress_range")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    op.create_index(
        "ix_tasks_dispatched",
        "tasks",
        ["queue", "dispatched_at"],
        unique=False,
        postgresql_where=sa.text("status = 'PENDING' AND dispatched_at IS NOT NULL"),
    )
    op.create_index(
        "ix_tasks_lease",
        "tasks",
        ["lease_expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'IN_PROGRESS'"),
    )
    op.create_index(
        "ix_tasks_priority_id", "tasks", ["priority", sa.literal_column("id DESC")], unique=False
    )
    op.create_index(
        "ix_tasks_status_id", "tasks", ["status", sa.literal_column("id DESC")], unique=False
    )
    op.create_index(
        "ix_tasks_undispatched",
        "tasks",
        ["run_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('NEW', 'PENDING') AND dispatched_at IS NULL"),
    )
    op.create_index(
        "ix_tasks_waiting",
        "tasks",
        ["queue", "run_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('NEW', 'PENDING')"),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_table(
        "task_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_task_events_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_events")),
    )
    op.create_index("ix_task_events_task_id_id", "task_events", ["task_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_task_events_task_id_id", table_name="task_events")
    op.drop_table("task_events")
    op.drop_table("workers")
    op.drop_index(
        "ix_tasks_waiting",
        table_name="tasks",
        postgresql_where=sa.text("status IN ('NEW', 'PENDING')"),
    )
    op.drop_index(
        "ix_tasks_undispatched",
        table_name="tasks",
        postgresql_where=sa.text("status IN ('NEW', 'PENDING') AND dispatched_at IS NULL"),
    )
    op.drop_index("ix_tasks_status_id", table_name="tasks")
    op.drop_index("ix_tasks_priority_id", table_name="tasks")
    op.drop_index(
        "ix_tasks_lease", table_name="tasks", postgresql_where=sa.text("status = 'IN_PROGRESS'")
    )
    op.drop_index(
        "ix_tasks_dispatched",
        table_name="tasks",
        postgresql_where=sa.text("status = 'PENDING' AND dispatched_at IS NOT NULL"),
    )
    op.drop_table("tasks")
