"""One index for every filter of the list, in place of one for each.

Revision: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NEW = "ix_tasks_status_priority_id"
_OLD = {"ix_tasks_status_id": "status", "ix_tasks_priority_id": "priority"}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # One that an earlier try left unfinished would never be used.
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_NEW}")
        op.execute(f"CREATE INDEX CONCURRENTLY {_NEW} ON tasks (status, priority, id)")
        for name in _OLD:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name, column in _OLD.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON tasks ({column}, id DESC)")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_NEW}")
