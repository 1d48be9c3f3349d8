"""The plans of the hot queries: each filter, each step and each look back has its index."""

import json
import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, text

from app.db import (
    attempts,
    history,
    maintenance,
    prepared,
    promotion,
    reading,
    retention,
    rounds,
    set_aside,
    task_json,
    tasks,
    waiting,
    workers,
)
from app.db.engine import Connection
from app.domain.priority import Priority
from app.domain.status import Status
from tests.integration import rows


@pytest.fixture(scope="module")
def large(shared_database):
    """A table of 20,000 ended tasks with a few of every other kind, rolled back afterwards."""
    rows.reindex(shared_database)
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


@pytest.fixture(scope="module")
def scheduled(large: Connection) -> Connection:
    """The same with 100,000 tasks more whose time is to come, among which 30 are due."""
    large.execute(
        text(
            """
            INSERT INTO tasks (title, priority, status, type, queue, run_at)
            SELECT 'a task', (ARRAY['LOW', 'MEDIUM', 'HIGH'])[1 + n % 3],
                   CASE WHEN n % 3333 = 1 THEN 'NEW' ELSE 'PENDING' END, 'simulated_work',
                   (ARRAY['low', 'medium', 'high'])[1 + n % 3],
                   CASE WHEN n % 3333 = 1 THEN now() - interval '1 h'
                        ELSE now() + n * interval '1 min' END
            FROM generate_series(1, 100000) AS n
            """
        )
    )
    large.execute(text("ANALYZE tasks"))
    workers.beat(large, "one@test", 20)
    return large


@pytest.fixture(scope="module")
def eventful(large: Connection) -> tuple[Connection, int]:
    """The same with 100 tasks that have a long past each, and the id of one of these."""
    task_id = large.execute(
        text(
            """
            WITH made AS (
                INSERT INTO tasks (title, priority, status, type, queue, attempt, max_attempts)
                SELECT 'a task', 'LOW', 'PENDING', 'simulated_work', 'low', 100, 101
                FROM generate_series(1, 100) RETURNING id
            ), attempted AS (
                INSERT INTO task_attempts (task_id, number, worker, started_at, outcome)
                SELECT id, n, 'w/1', now(), 'LOST' FROM made, generate_series(1, 100) AS n
            ), logged AS (
                INSERT INTO task_logs (task_id, attempt, number, at, level, message)
                SELECT id, n / 10, n % 10, now(), 'INFO', 'a line'
                FROM made, generate_series(1, 500) AS n
            ), happened AS (
                INSERT INTO task_events (task_id, event, status, attempt)
                SELECT id, 'claimed', 'IN_PROGRESS', n FROM made, generate_series(1, 200) AS n
            )
            SELECT max(id) FROM made
            """
        )
    ).scalar_one()
    large.execute(text("ANALYZE tasks, task_attempts, task_logs, task_events"))
    return large, task_id


LISTS = [
    ({}, "pk_tasks"),
    ({"before": 9000}, "pk_tasks"),
    ({"before": 100}, "pk_tasks"),
    ({"skip": 300}, "pk_tasks"),
    ({"statuses": [Status.NEW]}, "ix_tasks_status_priority_id"),
    ({"statuses": [Status.NEW], "before": 9000}, "ix_tasks_status_priority_id"),
    ({"statuses": [Status.COMPLETED]}, "ix_tasks_status_priority_id"),
    ({"statuses": [Status.CANCELLED]}, "ix_tasks_status_priority_id"),
    ({"priorities": [Priority.LOW]}, "ix_tasks_status_priority_id"),
    (
        {"statuses": [Status.NEW, Status.FAILED], "priorities": [Priority.LOW, Priority.HIGH]},
        "ix_tasks_status_priority_id",
    ),
]
REPAIRS = [
    (maintenance._UNDISPATCHED, {}, "ix_tasks_undispatched_queue"),
    (
        maintenance._FORGET_LOST,
        {"p_queue": "low", "p_taken_before": datetime.now(UTC), "p_margin": 2},
        "ix_tasks_dispatched",
    ),
    *((rescue, {"p_crash_limit": 3}, "ix_tasks_lease") for rescue in maintenance._RESCUE_LAPSED),
    *(
        (promotion._PROMOTE[to], {"p_waited": 600, "p_silent": 10, "p_most": 500}, index)
        for to in promotion._PROMOTE
        for index in ("ix_tasks_waiting", "ix_tasks_raised")
    ),
]
_KNOWN = {"p_types": ["another_type", "simulated_work"]}
_FAILED = {"p_attempt": 1, "p_error": "no", "p_traceback": None, "p_outcome": "FAILED"}
ATTEMPTS = [
    (attempts._CLAIM, {"p_queue": "low", "p_worker": "w", "p_lease": 15, **_KNOWN}),
    (attempts._COMPLETE, {"p_attempt": 1, "p_result": None, "p_note": None}),
    (attempts._RENEW, {"p_attempt": 1, "p_lease": 15, "p_progress": 0, "p_note": None}),
    (attempts._FAIL, _FAILED),
    (attempts._SCHEDULE_RETRY, {**_FAILED, "p_pause": 1}),
    (attempts._RELEASE, {"p_attempt": 1}),
    (attempts._CANCEL_RUNNING, {"p_attempt": 1}),
    (set_aside._SET_ASIDE, {"p_queue": "low", "p_silent": 15, **_KNOWN}),
    (set_aside._FAIL_UNKNOWN, {"p_patience": 600, "p_silent": 15, **_KNOWN}),
    (attempts._RESUME, {"p_worker": "w", "p_lease": 15}),
    (tasks._MOVE_WAITING, {"p_priority": "LOW", "p_queue": "low"}),
    (tasks._CANCEL_WAITING, {}),
    (tasks._REQUEST_CANCEL, {}),
    (tasks._RUN_AGAIN, {}),
    (tasks._GET, {}),
]
# PostgreSQL's manual, "plan_cache_mode".
MODES = ["force_custom_plan", "force_generic_plan"]
_PAGE = {"p_skip": 50, "p_limit": 101}
PASTS = [
    (history._ATTEMPTS, _PAGE, "pk_task_attempts"),
    (history._EVENTS, _PAGE, "pk_task_events"),
    (history._ENDING, {"p_attempt": 7}, "pk_task_events"),
    (history._LINES, {"p_of_attempt": None, **_PAGE}, "pk_task_logs"),
    (history._LINES, {"p_of_attempt": 3, **_PAGE}, "pk_task_logs"),
]
OF_WHAT_IS_DUE = [
    (maintenance._UNDISPATCHED, {"p_limit": 500}, "ix_tasks_undispatched_queue"),
    (waiting._OLDEST_WAITING, {}, "ix_tasks_waiting"),
    *(
        (
            promotion._PROMOTE[to],
            {"p_waited": 600, "p_silent": 10, "p_most": 500},
            "ix_tasks_waiting",
        )
        for to in promotion._PROMOTE
    ),
]


def explained(connection: Connection, how: str, statement, parameters) -> list:
    """Return what PostgreSQL explains of a statement that is run with these parameters."""

    def explain(conn, cursor, sql, values, context, executemany):
        return f"EXPLAIN {how} {sql}", values

    event.listen(connection, "before_cursor_execute", explain, retval=True)
    try:
        return [row[0] for row in connection.execute(statement, parameters)]
    finally:
        event.remove(connection, "before_cursor_execute", explain)


def plan(connection: Connection, statement, parameters) -> str:
    """Return PostgreSQL's plan for a statement, as it would be run with these parameters."""
    return "\n".join(explained(connection, "", statement, parameters))


def blocks(connection: Connection, statement, parameters) -> int:
    """Return how many blocks of 8 KiB PostgreSQL looks at for a statement, which is then undone."""
    with connection.begin_nested() as undone:
        how = "(ANALYZE, BUFFERS, FORMAT JSON)"
        (found,) = explained(connection, how, statement, parameters)
        undone.rollback()
    top = (found if isinstance(found, list) else json.loads(found))[0]["Plan"]
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"]


def prepared_plan(
    connection: Connection, mode: str, statement, parameters, how: str = ""
) -> list[str]:
    """Return the lines of the plan for a statement that is prepared, in a mode of the planner's."""
    query = prepared.Prepared(statement)
    driver = connection.connection.cursor()
    driver.execute(f"SET LOCAL plan_cache_mode = {mode}")
    driver.execute(query.text)
    driver.execute(f"EXPLAIN {how} {query.call}", query.values(parameters))
    lines = [line for (line,) in driver.fetchall()]
    driver.execute(f"DEALLOCATE {query.name}")
    driver.execute("SET LOCAL plan_cache_mode = auto")
    return lines


def plan_in(mode: str, connection: Connection, statement, parameters) -> str:
    """Return the plan for a statement, prepared in this mode or not prepared at all."""
    if mode == "as it comes":
        return plan(connection, statement, parameters)
    return "\n".join(prepared_plan(connection, mode, statement, parameters))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("wanted", "index"), LISTS)
def test_a_page_of_the_list_comes_from_an_index(
    large: Connection, wanted, index: str, mode: str
) -> None:
    page = {"statuses": [], "priorities": [], "before": None, "skip": 0, "limit": 101, **wanted}
    statement, parameters = reading.page_query(**page)
    parameters |= task_json.parameters(task_json.Terms("{}", "{}", "{}", 60.0, ("simulated_work",)))
    lines = prepared_plan(large, mode, statement, parameters, "(ANALYZE, BUFFERS)")
    found = "\n".join(lines)
    assert index in found, found
    assert "Seq Scan" not in found
    # The whole table has thousands of blocks; a page, at most a few for each of its rows.
    read = next(re.findall(r"=(\d+)", line) for line in lines if "Buffers" in line)
    assert sum(map(int, read)) < 900


def test_single_tasks_are_read_by_their_key_whatever_is_planned_for(large: Connection) -> None:
    terms = task_json.parameters(task_json.Terms("{}", "{}", "{}", 60.0, ("simulated_work",)))
    parameters = {"p_ids": [1, 2], **terms}
    found = "\n".join(prepared_plan(large, "force_generic_plan", reading._MANY, parameters))
    assert "Index Scan using pk_tasks on tasks" in found, found
    assert "Seq Scan" not in found


@pytest.mark.parametrize("mode", ["as it comes", *MODES])
@pytest.mark.parametrize(("statement", "parameters", "index"), REPAIRS)
def test_maintenance_looks_only_at_what_may_need_it(
    large: Connection, statement, parameters, index: str, mode: str
) -> None:
    found = plan_in(mode, large, statement, {"p_limit": 500, **parameters})
    assert index in found, found
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


@pytest.mark.parametrize("mode", ["as it comes", *MODES])
@pytest.mark.parametrize(("statement", "parameters"), ATTEMPTS)
def test_an_attempt_touches_its_task_by_its_key(
    large: Connection, statement, parameters, mode: str
) -> None:
    found = plan_in(mode, large, statement, {"p_id": 77, **parameters})
    assert "using pk_tasks on tasks" in found, found
    # Of the workers there are but a few.
    assert "Seq Scan on tasks" not in found


@pytest.mark.parametrize(("statement", "parameters", "index"), PASTS)
def test_a_look_back_reads_one_task_s_part_of_an_index(
    eventful: tuple[Connection, int], statement, parameters, index: str
) -> None:
    connection, task_id = eventful
    wanted = {"p_id": task_id, **parameters}
    found = plan(connection, statement, wanted)
    assert index in found, found
    assert "Seq Scan" not in found
    # Fewer than all tables of this task together, and far fewer than those of all tasks.
    assert blocks(connection, statement, wanted) < 40


@pytest.mark.parametrize(("statement", "parameters", "index"), OF_WHAT_IS_DUE)
def test_what_is_scheduled_for_later_is_not_walked_through(
    scheduled: Connection, statement, parameters, index: str
) -> None:
    found = plan(scheduled, statement, parameters)
    assert index in found, found
    assert "Seq Scan on tasks" not in found
    # The 30 that are due lie in as many blocks, and each that is changed takes a few more; all of
    # an index would be some hundreds, all of the table thousands.
    assert blocks(scheduled, statement, parameters) < 400


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
# None of the ended tasks is as old as this, or all of them are.
@pytest.mark.parametrize("age", [86_400, -86_400])
def test_retention_reads_no_more_than_what_it_deletes(
    large: Connection, mode: str, age: int
) -> None:
    query = prepared.Prepared(retention._DELETE_ENDED)
    driver = large.connection.cursor()
    driver.execute(f"{query.text}; SET LOCAL plan_cache_mode = {mode}; SAVEPOINT before")
    how = "(ANALYZE, BUFFERS)"
    driver.execute(f"EXPLAIN {how} {query.call}", query.values({"p_age": age, "p_limit": 10}))
    lines = [line for (line,) in driver.fetchall()]
    driver.execute(f"ROLLBACK TO before; DEALLOCATE {query.name}")
    found = "\n".join(lines)
    assert "Index Scan using ix_tasks_completed_at" in found
    assert "Seq Scan" not in found
    read = next(re.findall(r"=(\d+)", line) for line in lines if "Buffers" in line)
    # The few blocks of the way down an index, and some for each task that goes with its history.
    assert sum(map(int, read)) < (10 if age > 0 else 500)


def test_lines_are_added_by_the_key_of_their_task(large: Connection) -> None:
    nothing = {"p_numbers": [], "p_times": [], "p_levels": [], "p_messages": []}
    found = plan(large, history._ADD_LINES, {"p_id": 77, "p_attempt": 1, **nothing})
    assert "Seq Scan" not in found


def test_a_round_with_nothing_to_do_costs_a_look_into_each_index(large: Connection) -> None:
    parameters = {"p_promotion": 150, "p_comparison": 0.3}
    found = plan(large, rounds._TRY_LEAD, parameters)
    for index in ("ix_tasks_lease", "ix_tasks_waiting", "ix_tasks_dispatched"):
        assert index in found, found
    assert "ix_tasks_undispatched_queue" in found
    assert "Seq Scan" not in found
    assert blocks(large, rounds._TRY_LEAD, parameters) < 60


def test_of_very_many_that_are_due_a_batch_is_read_and_not_all_are_sorted(
    scheduled: Connection,
) -> None:
    # The last test of this table: what is undone here stays in its indexes.
    with scheduled.begin_nested() as undone:
        due = "UPDATE tasks SET run_at = now() - interval '2 s' WHERE status = 'PENDING'"
        scheduled.execute(text(due))
        found = plan(scheduled, maintenance._UNDISPATCHED, {"p_limit": 50})
        read = blocks(scheduled, maintenance._UNDISPATCHED, {"p_limit": 50})
        undone.rollback()
    assert found.count("ix_tasks_undispatched_queue") == 4
    assert "Seq Scan" not in found
    # For up to 50 of each queue a block each; all that is due lies in thousands.
    assert read < 400
