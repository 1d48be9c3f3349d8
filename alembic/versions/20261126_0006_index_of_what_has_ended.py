"""An index of what has ended, by when, from which retention reads what to delete.

Revision: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NAME = "ix_tasks_completed_at"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # One that an earlier try left unfinished would never be used.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_NAME}")
        # A CHECK says that these are the tasks whose status is final. Unlike that, the planner can
        # tell it from any comparison of the time.
        op.execute(
            f"CREATE INDEX CONCURRENTLY {_NAME} ON tasks (completed_at)"
            " WHERE completed_at IS NOT NULL"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_NAME}")
