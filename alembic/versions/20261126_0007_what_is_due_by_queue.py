"""What is to be published comes out of its index in the order in which it is published.

Revision: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OLD, _NEW = "ix_tasks_undispatched", "ix_tasks_undispatched_queue"
_WHERE = "WHERE status IN ('NEW', 'PENDING') AND dispatched_at IS NULL"


def _replace(old: str, new: str, columns: str) -> None:
    with op.get_context().autocommit_block():
        # One that an earlier try left unfinished would never be used.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {new}")
        op.execute(f"CREATE INDEX CONCURRENTLY {new} ON tasks ({columns}) {_WHERE}")
        # The version before asks for any of these tasks, which either index gives it.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {old}")


def upgrade() -> None:
    _replace(_OLD, _NEW, "queue, run_at, id")


def downgrade() -> None:
    _replace(_NEW, _OLD, "run_at")
