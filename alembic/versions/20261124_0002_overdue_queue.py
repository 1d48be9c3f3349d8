"""A queue ahead of all others, for what has waited too long, and an index of what was raised.

Revision: 0002
Revises: 0001
"""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KNOWN = "ck_tasks_queue_known"


def upgrade() -> None:
    # Both at once, so that no moment is without the constraint; existing rows satisfy the new one,
    # which allows more, and need not be read.
    op.execute(
        f"ALTER TABLE tasks DROP CONSTRAINT {_KNOWN},"
        f" ADD CONSTRAINT {_KNOWN} CHECK (queue IN ('high', 'low', 'medium', 'overdue')) NOT VALID"
    )
    with op.get_context().autocommit_block():
        # Reads the table beside everybody's writes.
        op.execute(f"ALTER TABLE tasks VALIDATE CONSTRAINT {_KNOWN}")
        # One that an earlier try left unfinished would never be used.
        op.drop_index(
            "ix_tasks_raised", table_name="tasks", postgresql_concurrently=True, if_exists=True
        )
        op.create_index(
            "ix_tasks_raised",
            "tasks",
            ["queue"],
            postgresql_where=sa.text(
                "queue <> lower(priority) AND status IN ('IN_PROGRESS', 'NEW', 'PENDING')"
            ),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(
            "ix_tasks_raised", table_name="tasks", postgresql_concurrently=True, if_exists=True
        )
    # The messages in the queue are read by nobody then; the tasks are published to another.
    op.execute("UPDATE tasks SET queue = 'high', dispatched_at = NULL WHERE queue = 'overdue'")
    op.execute(
        f"ALTER TABLE tasks DROP CONSTRAINT {_KNOWN},"
        f" ADD CONSTRAINT {_KNOWN} CHECK (queue IN ('high', 'low', 'medium')) NOT VALID"
    )
    with op.get_context().autocommit_block():
        op.execute(f"ALTER TABLE tasks VALIDATE CONSTRAINT {_KNOWN}")
