"""${message}

A migration runs while the service does, on tables with rows in them. So:
- Add a column with a constant default or none; fill it in small batches, then constrain it.
- Add a CHECK or foreign key NOT VALID, and validate it in a migration of its own.
- Build and drop an index CONCURRENTLY, inside `with op.get_context().autocommit_block():`.
- Remove or rename nothing that the version before still uses.
alembic/env.py sets lock_timeout, statement_timeout and the advisory lock.

Revision: ${up_revision}
Revises: ${down_revision | comma,n}
"""

import sqlalchemy as sa

from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
