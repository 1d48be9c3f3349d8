"""Runs the migrations: one at a time across all machines, and never waiting long for a lock.

A migration that cannot get its lock within LOCK_TIMEOUT fails, instead of making every request
queue behind it; run it again. The advisory lock lets several containers start at once.
"""

import sys

import sqlalchemy
from sqlalchemy import create_engine, text

from alembic import context
from app.db.models import Base
from app.settings import get_settings

# Any number that nothing else in this database locks will do.
ADVISORY_LOCK = 7_305_021_946
LOCK_TIMEOUT = "5s"
# Longer than any statement here should take, short enough to notice one that does.
STATEMENT_TIMEOUT = "300s"


def run() -> None:
    settings = get_settings()
    engine = create_engine(
        settings.database_url,
        # libpq takes whole seconds, and treats 1 as 2.
        connect_args={"connect_timeout": max(2, int(settings.database_connect_timeout_seconds))},
    )
    with engine.connect() as connection:
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
        if encoding != "UTF8":
            sys.exit(
                f"The database's encoding is {encoding}, in which not every text can be stored."
                " Create it with ENCODING 'UTF8' TEMPLATE template0."
            )
        connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_server_default=True,
            # Each migration commits by itself, so that one may leave the transaction for an index
            # built CONCURRENTLY.
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


if context.is_offline_mode():
    sys.exit("Migrations run against a database: set DATABASE_URL.")

try:
    run()
except sqlalchemy.exc.OperationalError as error:
    sys.exit(f"The migrations could not run: {str(error.orig).strip()}")
