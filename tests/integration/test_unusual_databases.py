"""Databases and roles that were set up for others: the service asks for what it needs itself."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import psycopg2
import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.settings import Settings
from tests import servers
from tests.lab import lab
from tests.service import Service
from tests.support import wait_for

TITLE = "Задача 漢字 🚀"
# What an administrator may have set for the whole database.
UNUSUAL = {
    "client_encoding": "WIN1251",
    "datestyle": "German",
    "intervalstyle": "iso_8601",
    "timezone": "Asia/Tokyo",
    "default_transaction_isolation": "serializable",
    "standard_conforming_strings": "off",
    "extra_float_digits": "-3",
}


@pytest.fixture
def unusual_url(database_url: str) -> str:
    name = database_url.rpartition("/")[2]
    with closing(psycopg2.connect(database_url)) as connection, connection:
        for setting, value in UNUSUAL.items():
            connection.cursor().execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    return database_url


def test_a_task_is_told_the_same_whatever_the_database_s_own_settings_are(
    unusual_url: str, redis_url: str, tmp_path: Path
) -> None:
    with lab(unusual_url, redis_url, tmp_path, SIMULATED_WORK_SECONDS="0.05") as own:
        service: Service = own.service
        service.start_worker()
        with service.client() as client:
            created = client.post(
                "/tasks/", json={"title": TITLE, "description": "\\' \\\\ '", "delay_seconds": 0.1}
            ).json()
            assert created["title"] == TITLE
            assert created["description"] == "\\' \\\\ '"
            done = service.wait_until(created["id"], "COMPLETED", "FAILED")
            assert done["status"] == "COMPLETED"
            for field in ("title", "description", "created_at", "run_at", "backoff"):
                assert done[field] == created[field], field
            (attempt,) = client.get(f"/tasks/{created['id']}/attempts").json()
            assert attempt["started_at"] == done["started_at"]
            assert client.get("/tasks/", params={"limit": 1}).json() == [done]
    assert "Traceback" not in service.log("api") + service.log("worker")


def test_every_transaction_sees_what_others_have_committed(unusual_url: str) -> None:
    database = Database(
        Settings(database_url=unusual_url, _env_file=None), pool_size=1, application_name="test"
    )
    with database.transaction() as connection:
        found = connection.execute(text("SHOW transaction_isolation")).scalar_one()
    database.close()
    assert found == "read committed"


def test_options_in_the_url_hold_beside_the_service_s_own(database_url: str) -> None:
    url = f"{database_url}?options=-csearch_path%3Delsewhere%20-cstatement_timeout%3D1"
    database = Database(
        Settings(database_url=url, _env_file=None), pool_size=1, application_name="test"
    )
    with database.transaction() as connection:
        found = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("search_path", "statement_timeout", "timezone")
        }
    database.close()
    assert found == {"search_path": "elsewhere", "statement_timeout": "5s", "timezone": "UTC"}


def test_a_role_without_rights_is_told_and_its_service_works_once_it_has_them(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    name = database_url.rpartition("/")[2]
    with closing(psycopg2.connect(database_url)) as owner:
        owner.autocommit = True
        cursor = owner.cursor()
        cursor.execute("SHOW is_superuser")
        if cursor.fetchone() == ("on",):
            # Nothing can be taken from such a role; but its sessions can be another's.
            cursor.execute(f"ALTER DATABASE {name} SET role = 'pg_monitor'")
            give_back = [
                f"ALTER DATABASE {name} RESET role",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            ]
        else:
            cursor.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM CURRENT_USER")
            give_back = ["GRANT ALL ON ALL TABLES IN SCHEMA public TO CURRENT_USER"]
        with lab(database_url, redis_url, tmp_path, SIMULATED_WORK_SECONDS="0") as own:
            service: Service = own.service
            service.start_worker()
            with service.client() as client:
                refused = client.post("/tasks/", json={"title": TITLE})
                assert refused.status_code == 503
                assert "permission denied" in refused.json()["detail"]
                checks = client.get("/health").json()["checks"]
                assert "permission denied" in checks["database"]["detail"]
                for statement in give_back:
                    cursor.execute(statement)
                created = wait_for(lambda: accepted(client), 5, "a task is accepted")
            assert service.wait_until(created, "COMPLETED", "FAILED")["status"] == "COMPLETED"
        assert "Traceback" not in service.log("api") + service.log("worker")


def accepted(client: httpx.Client) -> int | None:
    answer = client.post("/tasks/", json={"title": TITLE})
    return int(answer.json()["id"]) if answer.status_code == 201 else None


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "WIN1251"])
def test_a_database_that_cannot_store_every_text_is_refused(
    postgres: servers.Postgres, encoding: str
) -> None:
    how = f"TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C'"
    with postgres.database(how=how) as url:
        done = subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=servers.ROOT,
            env={**os.environ, "DATABASE_URL": url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()[-1:]
    assert encoding in line
    assert "ENCODING 'UTF8'" in line
