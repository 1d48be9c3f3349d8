"""The documented commands, typed by hand against servers of one's own.

Each is run word by word as the READMEs have it, through the program of that name in the virtual
environment. Ports come from the environment, or take the place of the documented number.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from tests import servers
from tests.servers import ROOT
from tests.support import free_port, wait_for

pytestmark = pytest.mark.acceptance

PROGRAMS = Path(sys.executable).parent

INSTALL = "pip install -r requirements.txt"
MIGRATE = "alembic upgrade head"
API = "uvicorn main:app --reload"
SEVERAL_APIS = "uvicorn main:app --workers 2"
WORKER = "celery -A app.worker.celery worker --loglevel=info"
FLOWER = "celery -A app.worker.celery flower --port=5555"


@dataclass
class ByHand:
    """A person with a few terminals, in which documented commands run."""

    database_url: str
    redis_url: str
    logs: Path
    folder: Path = ROOT
    api_port: int = field(default_factory=free_port)
    flower_port: int = field(default_factory=free_port)
    terminals: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def flower(self) -> str:
        return f"http://127.0.0.1:{self.flower_port}"

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "UVICORN_PORT": str(self.api_port),
            "SIMULATED_WORK_SECONDS": "0.5",
            "FLOWER_UNAUTHENTICATED_API": "true",
            "PYTHONUNBUFFERED": "1",
        }

    def _words(self, command: str) -> list[str]:
        program, *rest = shlex.split(command.replace("5555", str(self.flower_port)))
        # A virtual environment that another tool made has pip perhaps as a module only.
        start = [sys.executable, "-m", "pip"] if program == "pip" else [str(PROGRAMS / program)]
        return [*start, *rest]

    def do(self, command: str) -> str:
        """Run a command to its end, which must be a good one, and return what it says."""
        done = subprocess.run(
            self._words(command),
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def start(self, name: str, command: str) -> None:
        """Start a command in a terminal of its own."""
        with (self.logs / f"{name}.log").open("wb") as output:
            self.terminals[name] = subprocess.Popen(
                self._words(command),
                cwd=self.folder,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_api(self, command: str = API) -> None:
        self.start("api", command)
        wait_for(lambda: answers(f"{self.api}/health/live"), 30, f"API is up; {self.log('api')}")

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(encoding="utf-8")

    def close(self) -> None:
        """Press Ctrl-C in each terminal, and end what does not mind it."""
        # What a shell runs in the background ignores Ctrl-C, and so do its children.
        is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        for process in self.terminals.values():
            os.killpg(process.pid, signal.SIGTERM if is_ignored else signal.SIGINT)
        for process in self.terminals.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def by_hand(
    postgres: servers.Postgres, valkey: servers.Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ByHand]:
    """Everything started by hand, on a database that was empty."""
    with postgres.database(migrated=False) as database_url, valkey.database() as redis_url:
        person = ByHand(database_url, redis_url, tmp_path_factory.mktemp("by-hand"))
        try:
            person.do(MIGRATE)
            person.start("worker", WORKER)
            person.start("flower", FLOWER)
            person.start_api()
            wait_for(lambda: answers(f"{person.api}/health"), 30, "all parts are healthy")
            wait_for(lambda: answers(f"{person.flower}/healthcheck"), 30, "Flower is up")
            wait_for(lambda: _workers_seen(person), 30, "Flower knows the worker")
            yield person
        finally:
            person.close()


def _workers_seen(person: ByHand) -> bool:
    response = httpx.get(f"{person.flower}/workers", params={"json": "1"}, timeout=10)
    return any(worker["status"] for worker in response.json()["data"])


@pytest.fixture
def empty_database(postgres: servers.Postgres, redis_url: str, tmp_path: Path) -> Iterator[ByHand]:
    """A person before an empty database, who has started nothing yet."""
    with postgres.database(migrated=False) as database_url:
        person = ByHand(database_url, redis_url, tmp_path)
        try:
            yield person
        finally:
            person.close()


def create(person: ByHand, path: str = "/tasks/", **body: object) -> int:
    response = httpx.post(f"{person.api}{path}", json=body, timeout=15)
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


def wait_until_final(person: ByHand, task_id: int) -> str:
    def status() -> str | None:
        found = httpx.get(f"{person.api}/tasks/{task_id}", timeout=15).json()["status"]
        return found if found in {"COMPLETED", "FAILED", "CANCELLED"} else None

    return str(wait_for(status, 30, f"task {task_id} has ended"))


# -- The whole service --------------------------------------------------------------------------


def test_a_task_completes(by_hand: ByHand) -> None:
    assert wait_until_final(by_hand, create(by_hand, title="Отчёт")) == "COMPLETED"


def shown_in_flower(person: ByHand, task_id: int, state: str) -> dict[str, Any]:
    """Return what Flower knows of a task, once that is its state there."""

    def known() -> dict[str, Any] | None:
        response = httpx.get(f"{person.flower}/api/task/info/{task_id}", timeout=10)
        shown = response.json() if response.status_code == 200 else {}
        return shown if shown.get("state") == state else None

    found = wait_for(known, 15, f"task {task_id} is {state} in Flower")
    assert found is not None
    return found


def test_flower_shows_a_task_by_its_handler_id_and_title(by_hand: ByHand) -> None:
    task_id = create(by_hand, title="Отчёт за ноябрь", priority="HIGH")

    shown = shown_in_flower(by_hand, task_id, "SUCCESS")
    page = httpx.get(f"{by_hand.flower}/task/{task_id}", timeout=10).text

    assert shown["name"] == "simulated_work"
    assert shown["args"] == f"({task_id}, 'Отчёт за ноябрь')"
    assert shown["result"] == f"'Task {task_id} completed after 0.5 s of simulated work.'"
    assert shown["runtime"] > 0.4
    assert "Отчёт за ноябрь" in page
    assert "simulated_work" in page


def test_flower_shows_failures_and_retries_under_their_handlers_too(by_hand: ByHand) -> None:
    broken = create(by_hand, "/tasks/broken", title="Сломанная")
    retried = create(by_hand, "/tasks/retry", title="Упрямая", retry_count=1)

    failure = shown_in_flower(by_hand, broken, "FAILURE")
    success = shown_in_flower(by_hand, retried, "SUCCESS")

    assert (failure["name"], failure["args"]) == ("broken", f"({broken}, 'Сломанная')")
    assert "broken on purpose" in failure["exception"]
    assert (success["name"], success["args"]) == ("retry", f"({retried}, 'Упрямая')")


@pytest.mark.parametrize(
    "path",
    [
        "/api/task/revoke/1",
        "/api/task/async-apply/app.run_task",
        "/api/worker/shutdown/celery@host",
        "/api/worker/queue/cancel-consumer/celery@host",
    ],
)
def test_flower_steers_nothing(by_hand: ByHand, path: str) -> None:
    response = httpx.post(f"{by_hand.flower}{path}", json={"args": [1]}, timeout=10)

    assert response.status_code == 403
    assert "Read only" in response.text


# -- A schema that is missing or behind ---------------------------------------------------------


def assert_unavailable(response: httpx.Response, *words: str) -> None:
    """Check that an answer is a 503 that says what to do."""
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"]
    for word in (*words, "alembic upgrade head"):
        assert word in response.json()["detail"]


def test_an_api_without_a_schema_says_so_and_goes_on_after_the_migration(
    empty_database: ByHand,
) -> None:
    person = empty_database
    person.start_api()

    assert "The database has no schema yet: run `alembic upgrade head`." in person.log("api")
    assert "Traceback" not in person.log("api")
    assert_unavailable(httpx.post(f"{person.api}/tasks/", json={"title": "x"}), "schema")
    assert_unavailable(httpx.get(f"{person.api}/tasks/1"), "schema")
    assert_unavailable(httpx.get(f"{person.api}/tasks/"), "schema")
    health = httpx.get(f"{person.api}/health", timeout=10)
    assert_unavailable(health, "no schema yet")
    assert health.json()["checks"]["database"]["ok"] is False

    person.do(MIGRATE)

    assert create(person, title="x") == 1


NEXT_REVISION = '''"""Brings back what the test took away."""

from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE tasks ADD COLUMN backoff jsonb")
'''


def test_an_api_whose_schema_is_behind_says_so_and_goes_on_after_the_migration(
    empty_database: ByHand, tmp_path: Path
) -> None:
    """The newer code is a copy of the project with one more migration."""
    person = empty_database
    person.do(MIGRATE)
    head = _revision(person.database_url)
    _execute(person.database_url, "ALTER TABLE tasks DROP COLUMN backoff")
    person.folder = tmp_path / "newer"
    for name in ("app", "alembic"):
        shutil.copytree(
            ROOT / name, person.folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("main.py", "alembic.ini"):
        shutil.copy(ROOT / name, person.folder)
    newest = person.folder / "alembic/versions/99991231_9999_next.py"
    newest.write_text(NEXT_REVISION.format(head=head), encoding="utf-8")

    person.start_api()

    behind = f"The database schema is at {head}, behind 9999: run `alembic upgrade head`."
    assert behind in person.log("api")
    assert_unavailable(httpx.post(f"{person.api}/tasks/", json={"title": "x"}), "behind")
    assert_unavailable(httpx.get(f"{person.api}/health", timeout=10), behind)
    assert "Traceback" not in person.log("api")

    person.do(MIGRATE)

    assert create(person, title="x") == 1


def _execute(database_url: str, sql: str) -> None:
    connection = psycopg2.connect(database_url)
    try:
        connection.autocommit = True
        connection.cursor().execute(sql)
    finally:
        connection.close()


def _revision(database_url: str) -> str:
    connection = psycopg2.connect(database_url)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT version_num FROM alembic_version")
        (revision,) = cursor.fetchone() or ("",)
        return str(revision)
    finally:
        connection.close()


# -- The other commands -------------------------------------------------------------------------


def test_migrating_twice_changes_nothing(empty_database: ByHand) -> None:
    empty_database.do(MIGRATE)
    before = _revision(empty_database.database_url)

    empty_database.do(MIGRATE)

    assert _revision(empty_database.database_url) == before


def test_several_api_processes_share_a_port(by_hand: ByHand, tmp_path: Path) -> None:
    person = ByHand(by_hand.database_url, by_hand.redis_url, tmp_path)
    try:
        person.start_api(SEVERAL_APIS)
        wait_for(
            lambda: person.log("api").count("Application startup complete") == 2, 20, "both are up"
        )
        assert wait_until_final(person, create(person, title="x")) == "COMPLETED"
    finally:
        person.close()


def test_the_requirements_are_complete(
    empty_database: ByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed satisfies the file, and the file pins all that its packages need."""
    # The command as it stands, except that it neither asks a registry nor changes anything.
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    monkeypatch.setenv("PIP_DRY_RUN", "true")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "true")

    said = empty_database.do(INSTALL)

    pinned = re.findall(r"^([\w.-]+)", (ROOT / "requirements.txt").read_text("utf-8"), re.M)
    needed = re.findall(r"^Requirement already satisfied: ([\w.-]+)", said, re.M)
    assert "Would install" not in said
    assert len(needed) > len(pinned) / 2
    assert {_normal(name) for name in needed} <= {_normal(name) for name in pinned}


def _normal(name: str) -> str:
    """Return a package's name in the one form that registries compare (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
