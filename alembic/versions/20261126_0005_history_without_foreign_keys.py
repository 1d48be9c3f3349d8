"""A task's history goes with it by a trigger, and its timeline has one index instead of two.

Revision: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = ("task_events", "task_attempts")


def upgrade() -> None:
    # A foreign key looks its task up at each of the half a dozen lines that a task leaves, and
    # locks it once more. They are written in the statement that has just changed that very task.
    # One delete at a time: a plan for many might read the whole table.
    op.execute(
        """
        CREATE OR REPLACE FUNCTION forget_history() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            gone_id bigint;
        BEGIN
            FOR gone_id IN SELECT id FROM gone LOOP
                DELETE FROM task_events WHERE task_id = gone_id;
                DELETE FROM task_attempts WHERE task_id = gone_id;
            END LOOP;
            RETURN NULL;
        END
        $$
        """
    )
    op.execute(
        "CREATE OR REPLACE TRIGGER tasks_forget_history AFTER DELETE ON tasks"
        " REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_history()"
    )
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS fk_{table}_task_id")
    with op.get_context().autocommit_block():
        # One that an earlier try left unfinished would never be used.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS new_pk_task_events")
        op.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY new_pk_task_events ON task_events (task_id, id)"
        )
    op.execute(
        "ALTER TABLE task_events DROP CONSTRAINT pk_task_events,"
        " ADD CONSTRAINT pk_task_events PRIMARY KEY USING INDEX new_pk_task_events"
    )
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_task_events_task_id_id")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_task_events_task_id_id")
        op.execute(
            "CREATE INDEX CONCURRENTLY ix_task_events_task_id_id ON task_events (task_id, id)"
        )
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS new_pk_task_events")
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY new_pk_task_events ON task_events (id)")
    op.execute(
        "ALTER TABLE task_events DROP CONSTRAINT pk_task_events,"
        " ADD CONSTRAINT pk_task_events PRIMARY KEY USING INDEX new_pk_task_events"
    )
    for table in _TABLES:
        name = f"fk_{table}_task_id"
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name}"
            " FOREIGN KEY (task_id) REFERENCES tasks (id) ON DELETE CASCADE NOT VALID"
        )
    op.execute("DROP TRIGGER IF EXISTS tasks_forget_history ON tasks")
    op.execute("DROP FUNCTION IF EXISTS forget_history")
    with op.get_context().autocommit_block():
        for table in _TABLES:
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT fk_{table}_task_id")
