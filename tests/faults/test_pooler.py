"""The service behind a pooler in transaction mode, set up as docs/scaling.md says."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from app.db.engine import Database
from app.domain.task import idempotency_token
from app.services.tasks import get_task
from app.settings import Settings
from tests.faults.conftest import own_lab
from tests.faults.evidence import cancel, error_lines, timelines, wait_until_final
from tests.faults.processes import process_of
from tests.lab import Lab
from tests.pooler import SERVER_CONNECTIONS, pooled

pytestmark = pytest.mark.pooler

# What the service asks for on its own connections, and a pooler does not hand on.
LOST = {
    "statement_timeout": "5s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
}


# Not UTC, and no name of it.
ZONE = "Asia/Yekaterinburg"


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    with pooled(database_url) as url:
        yield url


@pytest.fixture
def pooled_lab(database_url: str, pooled_url: str, redis_url: str, tmp_path: Path) -> Iterator[Lab]:
    """A lab whose API and workers reach PostgreSQL through the pooler, and the test itself."""
    with own_lab(
        database_url,
        redis_url,
        tmp_path,
        DATABASE_URL=pooled_url,
        DATABASE_PREPARED_STATEMENTS="false",
        SIMULATED_WORK_SECONDS="0.01",
        WORKER_CONCURRENCY="4",
    ) as own:
        yield own


def test_everything_works_through_a_pooler_in_transaction_mode(pooled_lab: Lab) -> None:
    service = pooled_lab.service
    service.start_worker()
    to_cancel = pooled_lab.start("sleep", seconds=60)
    to_kill = pooled_lab.start("long_at_first", seconds=60)
    with service.client() as client:

        def create(path: str, **body: object) -> int:
            answer = client.post(path, json={"title": "a task", **body})
            assert answer.status_code == 201, answer.text
            return int(answer.json()["id"])

        plain = [create("/tasks/", priority=p) for p in ("LOW", "HIGH") for _ in range(80)]
        broken = [create("/tasks/broken") for _ in range(10)]
        retried = [create("/tasks/retry", retry_count=1) for _ in range(20)]
        assert cancel(pooled_lab, to_cancel) == 202
        process_of(pooled_lab, to_kill).kill()
        ended = wait_until_final(pooled_lab, [*plain, *broken, *retried, to_cancel, to_kill], 60)
        assert len(client.get("/tasks/", params={"limit": 1000}).json()) == len(ended)
        assert client.get(f"/tasks/{retried[0]}/attempts").json()[0]["outcome"] == "FAILED"

    expected = {
        **dict.fromkeys(plain, ("COMPLETED", 1)),
        **dict.fromkeys(broken, ("FAILED", 1)),
        **dict.fromkeys(retried, ("COMPLETED", 2)),
        to_cancel: ("CANCELLED", 1),
        to_kill: ("COMPLETED", 2),
    }
    assert {each: (row.status, row.attempt) for each, row in ended.items()} == expected
    assert Counter(lines.names().count("claimed") for lines in timelines(pooled_lab).values()) == (
        Counter(attempt for _, attempt in expected.values())
    )
    assert pooled_lab.ledger.overlaps() == []
    assert error_lines(pooled_lab, "api", "worker", expected=["WorkerLost", "exited with"]) == []
    # Far fewer than the service holds without a pooler.
    assert 0 < connections(service.database_url) <= SERVER_CONNECTIONS


def connections(url: str) -> int:
    """Return how many connections of the service the server sees."""
    with closing(psycopg2.connect(url)) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name ~ '^task-manager'"
        )
        (found,) = cursor.fetchone()
    return int(found)


def test_limits_that_a_pooler_loses_are_those_of_the_role(
    database_url: str, pooled_url: str
) -> None:
    parts = urlsplit(database_url)
    role = f"ALTER ROLE {parts.username} IN DATABASE {parts.path[1:]} SET"
    with closing(psycopg2.connect(database_url)) as connection, connection:
        for name, value in LOST.items():
            connection.cursor().execute(f"{role} {name} = '{value}'")

    lost = "-c statement_timeout=77ms"
    with closing(psycopg2.connect(pooled_url, options=lost)) as connection:
        cursor = connection.cursor()
        found = {}
        for name in LOST:
            cursor.execute(f"SHOW {name}")
            (found[name],) = cursor.fetchone()
    assert found == LOST


def test_times_and_tokens_are_the_same_in_whatever_zone_a_pooler_s_sessions_are(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """The service asks for UTC on its own connections, which a pooler does not hand on either."""
    parts = urlsplit(database_url)
    with closing(psycopg2.connect(database_url)) as connection, connection:
        connection.cursor().execute(
            f"ALTER ROLE {parts.username} IN DATABASE {parts.path[1:]} SET timezone = {ZONE!r}"
        )
    with (
        pooled(database_url) as pooled_url,
        own_lab(
            database_url,
            redis_url,
            tmp_path,
            DATABASE_URL=pooled_url,
            DATABASE_PREPARED_STATEMENTS="false",
        ) as lab,
        lab.service.client() as client,
    ):
        with closing(psycopg2.connect(pooled_url)) as connection:
            cursor = connection.cursor()
            cursor.execute("SHOW timezone")
            assert cursor.fetchone() == (ZONE,)
        tokens: set[str] = set()
        before = datetime.now(UTC)
        created = client.post("/tasks/", json={"title": "задача", "delay_seconds": 3600}).json()

        assert client.get(f"/tasks/{created['id']}").json() == created
        (event,) = client.get(f"/tasks/{created['id']}/events").json()
        for time in (created["created_at"], event["at"]):
            assert abs(datetime.fromisoformat(time) - before) < timedelta(minutes=1)
        for url in (database_url, pooled_url):
            settings = Settings(database_url=url, redis_url=redis_url, _env_file=None)
            database = Database(settings, pool_size=1, application_name="test")
            tokens.add(idempotency_token(get_task(database, created["id"])))
            database.close()
        assert len(tokens) == 1
