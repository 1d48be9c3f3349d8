"""The plans of the hot queries: each filter and each step of maintenance has its index."""

import pytest
from sqlalchemy import event, text

from app.db import attempts, maintenance, promotion, tasks, waiting, workers
from app.db.engine import Connection
from app.domain.status import Status


@pytest.fixture(scope="module")
def large(shared_database):
    """A table of 20,000 ended tasks with a few of every other kind, rolled back afterwards."""
    with shared_database.engine.connect() as connection:
        connection.execute(
            text(
                """
                INSERT INTO tasks (title, priority, status, type, queue, attempt, completed_at,
                                   started_at, worker, lease_expires_at, dispatched_at)
                SELECT 'a task',
                       (ARRAY['LOW', 'MEDIUM', 'HIGH'])[1 + n % 3],
                       kind, 'simulated_work',
                       (ARRAY['low', 'medium', 'high'])[1 + n % 3],
                       CASE WHEN kind IN ('NEW', 'PENDING') THEN 0 ELSE 1 END,
                       CASE WHEN kind = 'COMPLETED' THEN now() END,
                       CASE WHEN kind IN ('COMPLETED', 'IN_PROGRESS') THEN now() END,
                       'w/1',
                       CASE WHEN kind = 'IN_PROGRESS' THEN now() END,
                       CASE WHEN kind = 'PENDING' THEN now() END
                FROM generate_series(1, 20000) AS n,
                     LATERAL (SELECT CASE n % 1000 WHEN 1 THEN 'NEW' WHEN 2 THEN 'PENDING'
                                     WHEN 3 THEN 'IN_PROGRESS' ELSE 'COMPLETED' END AS kind)
                """
            )
        )
        connection.execute(text("ANALYZE tasks"))
        yield connection
        connection.rollback()


LISTS = [
    ({}, "pk_tasks"),
    ({"before": 9000}, "pk_tasks"),
    ({"statuses": [Status.NEW]}, "ix_tasks_status_id"),
    ({"statuses": [Status.NEW], "before": 9000}, "ix_tasks_status_id"),
]
REPAIRS = [
    (maintenance._UNDISPATCHED, {}, "ix_tasks_undispatched"),
    (
        maintenance._FORGET_LOST,
        {"p_queue": "low", "p_oldest": None, "p_patience": 2},
        "ix_tasks_dispatched",
    ),
    *((rescue, {"p_crash_limit": 3}, "ix_tasks_lease") for rescue in maintenance._RESCUE_LAPSED),
    *(
        (promotion._PROMOTE[to], {"p_waited": 600, "p_silent": 10, "p_most": 500}, index)
        for to in promotion._PROMOTE
        for index in ("ix_tasks_waiting", "ix_tasks_raised")
    ),
]
ATTEMPTS = [
    (attempts._CLAIM, {"p_queue": "low", "p_worker": "w", "p_lease": 15}),
    (attempts._COMPLETE, {"p_attempt": 1, "p_result": None, "p_note": None}),
    (attempts._RENEW, {"p_attempt": 1, "p_lease": 15, "p_progress": 0, "p_note": None}),
    (tasks._GET, {}),
]


def plan(connection: Connection, statement, parameters) -> str:
    """Return PostgreSQL's plan for a statement, as it would be run with these parameters."""
    explained: list[str] = []

    def explain(conn, cursor, sql, values, context, executemany):
        return f"EXPLAIN {sql}", values

    event.listen(connection, "before_cursor_execute", explain, retval=True)
    try:
        explained += [row[0] for row in connection.execute(statement, parameters)]
    finally:
        event.remove(connection, "before_cursor_execute", explain)
    return "\n".join(explained)


@pytest.mark.parametrize(("wanted", "index"), LISTS)
def test_a_page_of_the_list_comes_from_an_index(large: Connection, wanted, index: str) -> None:
    query = tasks.page_query(
        **{"statuses": [], "priorities": [], "before": None, "skip": 0, "limit": 101, **wanted}
    )
    found = plan(large, query, {})
    assert index in found
    assert "Seq Scan" not in found


@pytest.mark.parametrize(("statement", "parameters", "index"), REPAIRS)
def test_maintenance_looks_only_at_what_may_need_it(
    large: Connection, statement, parameters, index: str
) -> None:
    found = plan(large, statement, {"p_limit": 500, **parameters})
    assert index in found
    assert "Seq Scan on tasks" not in found


def test_what_has_waited_longest_is_one_look_into_the_index_for_each_queue(
    large: Connection,
) -> None:
    found = plan(large, waiting._OLDEST_WAITING, {})
    assert found.count("Index Scan using ix_tasks_waiting on tasks") == 4
    assert "Seq Scan" not in found
    # The few rows that come out of the index, not all that wait, are sorted or counted.
    assert found.count("Limit") == 5
    assert found.count("Sort") <= 2


def test_what_a_worker_runs_is_counted_among_what_runs(large: Connection) -> None:
    found = plan(large, workers._COUNT_RUNNING, {"p_processes": "w/"})
    assert "ix_tasks_lease" in found
    assert "Seq Scan" not in found


@pytest.mark.parametrize(("statement", "parameters"), ATTEMPTS)
def test_an_attempt_touches_its_task_by_its_key(large: Connection, statement, parameters) -> None:
    found = plan(large, statement, {"p_id": 77, **parameters})
    # By the id alone, or by the id within a status.
    assert "pk_tasks" in found or "(id = 77))" in found
    assert "Seq Scan" not in found
