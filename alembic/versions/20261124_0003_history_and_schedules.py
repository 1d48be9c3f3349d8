"""A history of attempts and log lines, tasks' own retries and limits, and what workers know.

Revision: 0003
Revises: 0002
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_POSITIVE = "ck_tasks_timeout_positive"


def upgrade() -> None:
    # All of this is there already if an earlier try was broken off before its last step, which is
    # not part of the transaction. Columns without a default: no row is written again.
    for column in (
        sa.Column("backoff", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column("timeout_seconds", sa.Float(), nullable=True),
        sa.Column("set_aside_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("tasks", column, if_not_exists=True)
    op.add_column(
        "workers", sa.Column("types", sa.ARRAY(sa.Text()), nullable=True), if_not_exists=True
    )
    op.execute(
        f"ALTER TABLE tasks DROP CONSTRAINT IF EXISTS {_POSITIVE},"
        f" ADD CONSTRAINT {_POSITIVE} CHECK (timeout_seconds > 0) NOT VALID"
    )
    op.alter_column("task_events", "at", server_default=sa.text("clock_timestamp()"))
    op.create_table(
        "task_attempts",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('CANCELLED', 'COMPLETED', 'FAILED', 'LOST', 'RELEASED', 'TIMED_OUT')",
            name=op.f("ck_task_attempts_outcome_known"),
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_task_attempts_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", "number", name=op.f("pk_task_attempts")),
        if_not_exists=True,
    )
    op.create_table(
        "task_logs",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_task_logs_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", "attempt", "number", name=op.f("pk_task_logs")),
        if_not_exists=True,
    )
    with op.get_context().autocommit_block():
        # Reads the table beside everybody's writes.
        op.execute(f"ALTER TABLE tasks VALIDATE CONSTRAINT {_POSITIVE}")


def downgrade() -> None:
    op.alter_column("task_events", "at", server_default=sa.text("now()"))
    op.drop_table("task_logs")
    op.drop_table("task_attempts")
    op.drop_constraint(op.f(_POSITIVE), "tasks", type_="check")
    op.drop_column("workers", "types")
    op.drop_column("tasks", "set_aside_at")
    op.drop_column("tasks", "timeout_seconds")
    op.drop_column("tasks", "backoff")
