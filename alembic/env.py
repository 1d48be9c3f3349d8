"""Runs the migrations: one at a time across all machines, and never waiting long for a lock.

A migration that cannot get its lock within LOCK_TIMEOUT fails, instead of making every request
queue behind it; run it again. The advisory lock lets several containers start at once.
"""

import sys
import time

import sqlalchemy
from sqlalchemy import Connection, create_engine, text

from alembic import context
from app.db.models import Base
from app.settings import get_settings

# Any number that nothing else in this database locks will do.
ADVISORY_LOCK = 7_305_021_946
LOCK_TIMEOUT = "5s"
# Longer than any statement here should take, short enough to notice one that does.
STATEMENT_TIMEOUT = "300s"
# How long others may migrate before this gives up, and how often they are looked after.
TURN_SECONDS, PAUSE_SECONDS = 300, 0.2


def wait_for_turn(connection: Connection) -> None:
    """Take the lock that one migration at a time has.

    By asking again and again: whoever waits in a statement holds a snapshot, for whose end an index
    that is built CONCURRENTLY waits in turn (PostgreSQL's manual, "Building Indexes Concurrently").
    """
    deadline = time.monotonic() + TURN_SECONDS
    query = text("SELECT pg_try_advisory_lock(:key)")
    while not connection.execute(query, {"key": ADVISORY_LOCK}).scalar_one():
        connection.commit()
        if time.monotonic() > deadline:
            sys.exit(f"Other migrations of this database have not ended for {TURN_SECONDS} s.")
        time.sleep(PAUSE_SECONDS)


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
        wait_for_turn(connection)
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
