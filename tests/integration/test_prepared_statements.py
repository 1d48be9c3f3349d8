"""Statements that PostgreSQL plans once for each connection."""

from dataclasses import fields
from datetime import UTC, datetime

import psycopg2
import pytest
from sqlalchemy import text

from app.db import attempts, creation, prepared, reading, task_json, tasks
from app.db.engine import Database
from app.domain.priority import Priority, QueueName
from app.domain.retry import Backoff
from app.domain.task import NewTask
from app.errors import DatabaseUnavailable, StatementRefused
from app.settings import Settings

NEW = NewTask(
    "100 % «задача» %s", None, Priority.LOW, "any", {"a%s": ["ü", None, 1.5]}, 3, Backoff(0.5, 3.0)
)


@pytest.fixture
def one(settings: Settings):
    """A database with a single connection."""
    database = Database(settings, pool_size=1, application_name="test")
    yield database
    database.close()


def plain(settings: Settings) -> Database:
    without = settings.model_copy(update={"database_prepared_statements": False})
    return Database(without, pool_size=1, application_name="test")


def test_a_prepared_statement_says_what_the_plain_one_says(
    one: Database, settings: Settings
) -> None:
    with one.statement() as connection:
        task = creation.insert_task(connection, NEW)
        assert isinstance(connection, prepared.Direct)
        claimed = attempts.claim(connection, task.id, QueueName.LOW, "w/1", 15, ["any", "%s"])
        read = tasks.get(connection, task.id)
    database = plain(settings)
    with database.statement() as connection:
        assert not isinstance(connection, prepared.Direct)
        assert tasks.get(connection, task.id) == read
    database.close()
    assert claimed is not None
    for field in fields(claimed):
        assert getattr(claimed, field.name) == getattr(read, field.name), field.name
    assert (read.title, read.payload, read.backoff) == (NEW.title, NEW.payload, NEW.backoff)


def test_a_statement_is_its_own_transaction_and_leaves_the_connection_as_it_was(
    one: Database, database: Database
) -> None:
    with one.statement() as connection:
        task = creation.insert_task(connection, NEW)
        with database.transaction() as other:
            assert tasks.get(other, task.id) is not None
    with one.engine.connect() as connection:
        gone = creation.insert_task(connection, NEW)
        connection.rollback()
    with one.statement() as connection:
        assert tasks.get(connection, gone.id) is None


def test_a_refused_statement_spoils_nothing(one: Database) -> None:
    too_long = NewTask("x" * 300, None, Priority.LOW, "any", {"secret": "s3cret"}, 1)
    with pytest.raises(StatementRefused) as caught, one.statement() as connection:
        creation.insert_task(connection, too_long)
    assert "s3cret" not in str(caught.value)
    with one.statement() as connection:
        assert creation.insert_task(connection, NEW).id


def test_a_statement_that_the_server_has_forgotten_costs_one_try(one: Database) -> None:
    with one.statement() as connection:
        task = creation.insert_task(connection, NEW)
        tasks.get(connection, task.id)
    with one.transaction() as connection:
        connection.execute(text("DEALLOCATE ALL"))
    with pytest.raises(DatabaseUnavailable, match="does not exist"), one.statement() as connection:
        tasks.get(connection, task.id)
    with one.statement() as connection:
        assert tasks.get(connection, task.id) is not None


def test_a_connection_that_the_server_closed_is_replaced(one: Database) -> None:
    with one.transaction() as connection:
        (backend,) = connection.execute(text("SELECT pg_backend_pid()")).one()
    other = psycopg2.connect(
        one.engine.url.render_as_string(hide_password=False).replace("+psycopg2", "")
    )
    other.autocommit = True
    other.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", (backend,))
    other.close()
    with one.statement() as connection:
        assert creation.insert_task(connection, NEW).id


def test_constants_are_part_of_the_plan_and_parameters_are_not(one: Database) -> None:
    with one.statement() as connection:
        task = creation.insert_task(connection, NEW)
        for _ in range(10):
            attempts.claim(connection, task.id, QueueName.HIGH, "w/1", 15, ["any"])
    with one.transaction() as connection:
        rows = connection.execute(
            text("SELECT statement, generic_plans FROM pg_prepared_statements")
        ).all()
    (claim,) = [row for row in rows if "'claimed'" in row.statement]
    assert "IN ('NEW', 'PENDING')" in claim.statement
    # Past its first five runs PostgreSQL has no reason left to plan it for each value.
    assert claim.generic_plans > 0


def test_with_generic_plans_nothing_is_planned_for_one_call_s_parameters(
    settings: Settings,
) -> None:
    terms = task_json.Terms("{}", "{}", "{}", 60.0, ("any",))
    database = Database(settings, pool_size=1, application_name="test", generic_plans=True)
    with database.statement() as connection:
        for ids in ([1], [1, 2], [2, 3, 4]):
            reading.read_many(connection, ids, terms)
    with database.transaction() as connection:
        ((generic, custom),) = connection.execute(
            text("SELECT generic_plans, custom_plans FROM pg_prepared_statements")
        ).all()
    database.close()
    assert (generic, custom) == (3, 0)


TEXTS = [None, "NULL", "null", "", " ", "a,b", "{}", '"', "\\", "\\\"'%s", "ü\n\t", "plain7", "'"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", TEXTS),
        ("text", []),
        ("bigint", [2**62, -1, None]),
        ("float8", [0.1, 1e300, None, -0.0]),
        ("timestamptz", [datetime(2026, 11, 26, 1, 2, 3, 4, tzinfo=UTC), None]),
    ],
)
def test_an_array_arrives_as_it_was_sent(one: Database, kind: str, values: list) -> None:
    literal = prepared.array_literal(values)
    with one.transaction() as connection:
        found = connection.execute(text(f"SELECT CAST(:given AS {kind}[])"), {"given": literal})
        assert found.scalar() == values
