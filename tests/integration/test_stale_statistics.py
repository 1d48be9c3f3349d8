"""What statements read while PostgreSQL's statistics do not know yet how many tasks wait."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from app.db import attempts, maintenance, prepared, promotion, tasks
from app.db.engine import Connection
from tests.integration import rows

_MANY = 200
STATEMENTS = {
    "claim": (
        attempts._CLAIM,
        {"p_queue": "low", "p_worker": "w", "p_lease": 15, "p_types": ["simulated_work"]},
    ),
    "cancel": (tasks._CANCEL_WAITING, {}),
    "change": (tasks._MOVE_WAITING, {"p_priority": "HIGH", "p_queue": "high"}),
    "record": (
        maintenance._MARK_DISPATCHED,
        {"p_queues": ["low"] * _MANY, "p_times": [datetime.now(UTC)] * _MANY},
    ),
    "promote": (
        promotion._PROMOTE["high"],
        {"p_waited": 600, "p_silent": 10, "p_most": 1},
    ),
}


def rejected(plan: dict) -> int:
    """Return how many pairs of rows a plan's joins have compared in vain."""
    here = plan.get("Rows Removed by Join Filter", 0)
    return here + sum(map(rejected, plan.get("Plans", [])))


@pytest.fixture(scope="module")
def crowd(shared_database):
    """20,000 waiting tasks in a table of which PostgreSQL believes that nothing waits there."""
    rows.reindex(shared_database)
    with shared_database.engine.connect() as connection:
        made = (
            "INSERT INTO tasks"
            " (title, priority, status, type, queue, completed_at, run_at, updated_at)"
            " SELECT 'a task', 'LOW', :status, 'simulated_work', 'low',"
            "   CASE WHEN :status = 'COMPLETED' THEN now() END, now() - interval '1 hour',"
            "   now() - interval '1 hour'"
            " FROM generate_series(1, 20000) RETURNING id"
        )
        connection.execute(text(made), {"status": "COMPLETED"})
        connection.execute(text("ANALYZE tasks"))
        waiting = connection.execute(text(made), {"status": "NEW"}).scalars().all()
        yield connection, waiting
        connection.rollback()


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_crowd_that_has_just_come_is_not_walked_through(
    crowd: tuple[Connection, list[int]], name: str, mode: str
) -> None:
    connection, waiting = crowd
    statement, parameters = STATEMENTS[name]
    wanted = {"p_id": waiting[10_000], "p_ids": waiting[10_000 : 10_000 + _MANY], **parameters}
    query = prepared.Prepared(statement)
    with connection.begin_nested() as undone:
        driver = connection.connection.cursor()
        driver.execute(f"SET LOCAL plan_cache_mode = {mode}")
        driver.execute(query.text)
        driver.execute(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query.call}", query.values(wanted)
        )
        (explained,) = driver.fetchone()
        driver.execute(f"DEALLOCATE {query.name}")
        undone.rollback()

    found = explained[0]["Plan"]
    # The crowd lies in some hundreds of blocks, as do its indexes.
    changed = _MANY if name == "record" else 1
    assert found["Actual Rows"] == changed
    assert found["Shared Hit Blocks"] + found["Shared Read Blocks"] < 80 + 30 * changed, explained
    # Each with each would be thousands.
    assert rejected(found) < 2 * changed, explained
