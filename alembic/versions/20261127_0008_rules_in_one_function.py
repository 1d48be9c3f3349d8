"""The rules of a task's row are one constraint, which PostgreSQL compiles once for a connection.

Revision: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_RULES = {
    "title_length": "char_length(title) BETWEEN 1 AND 255",
    "status_known": "status IN"
    " ('CANCELLED', 'COMPLETED', 'FAILED', 'IN_PROGRESS', 'NEW', 'PENDING')",
    "priority_known": "priority IN ('HIGH', 'LOW', 'MEDIUM')",
    "queue_known": "queue IN ('high', 'low', 'medium', 'overdue')",
    "lease": "(status = 'IN_PROGRESS') = (lease_expires_at IS NOT NULL)",
    "completed_at": "(status IN ('CANCELLED', 'COMPLETED', 'FAILED')) = (completed_at IS NOT NULL)",
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
_COLUMNS = {
    "title": "varchar",
    "priority": "text",
    "status": "text",
    "queue": "text",
    "attempt": "integer",
    "max_attempts": "integer",
    "timeout_seconds": "double precision",
    "started_at": "timestamptz",
    "completed_at": "timestamptz",
    "lease_expires_at": "timestamptz",
    "worker": "text",
    "cancel_requested_at": "timestamptz",
    "progress": "double precision",
    "result": "jsonb",
    "error_info": "text",
}
_VALID = f"CHECK (task_is_valid({', '.join(_COLUMNS)}))"


def _replace(dropped: list[str], added: dict[str, str]) -> None:
    # All at once, so that no moment is without them. Existing rows have obeyed the same rules, so
    # that they need not be read while the table is locked.
    steps = [f"DROP CONSTRAINT IF EXISTS ck_tasks_{name}" for name in [*dropped, *added]]
    steps += [f"ADD CONSTRAINT ck_tasks_{name} {rule} NOT VALID" for name, rule in added.items()]
    op.execute(f"ALTER TABLE tasks {', '.join(steps)}")
    with op.get_context().autocommit_block():
        for name in added:
            # Reads the table beside everybody's writes.
            op.execute(f"ALTER TABLE tasks VALIDATE CONSTRAINT ck_tasks_{name}")


def upgrade() -> None:
    # PostgreSQL reads the text of each constraint anew for each statement, which with these took it
    # a quarter of its time. A function in PL/pgSQL is compiled once for each connection.
    parameters = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    rules = "\n            AND ".join(f"({rule})" for rule in _RULES.values())
    cases = "\n            ".join(f"WHEN NOT ({rule}) THEN '{n}'" for n, rule in _RULES.items())
    # As with a CHECK, only what is false breaks a rule, and what is null does not.
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION task_is_valid({parameters}) RETURNS boolean
        LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
        DECLARE
            broken text;
        BEGIN
            IF NOT ({rules})
            THEN
                broken := 'ck_tasks_' || CASE
            {cases}
                END;
                RAISE check_violation USING TABLE = 'tasks', CONSTRAINT = broken, MESSAGE =
                    format('new row for relation "tasks" violates check constraint "%s"', broken);
            END IF;
            RETURN true;
        END
        $$
        """
    )
    _replace(list(_RULES), {"valid": _VALID})


def downgrade() -> None:
    _replace(["valid"], {name: f"CHECK ({rule})" for name, rule in _RULES.items()})
    op.execute("DROP FUNCTION IF EXISTS task_is_valid")
