"""The connection breaks between a request and its answer: it was carried out, and nobody knows."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.faults.conftest import own_lab
from tests.faults.evidence import rows, timeline
from tests.faults.figures import figure
from tests.faults.load import is_honest_503
from tests.faults.servers import Plug, RedisPlug, postgres_plug, redis_plug
from tests.lab import Lab
from tests.support import wait_for

# What the service promises, in seconds.
RUNS_WITHIN = 5.0

COMMIT = b"COMMIT"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lost_answers")


@pytest.fixture(scope="module")
def postgres_server(postgres: servers.Postgres, directory: Path) -> Iterator[Plug]:
    with postgres_plug(postgres, directory) as plug:
        yield plug


@pytest.fixture(scope="module")
def redis_server(valkey: servers.Redis, directory: Path) -> Iterator[RedisPlug]:
    with redis_plug(valkey, directory) as plug:
        yield plug


@pytest.fixture(scope="module")
def lossy_lab(postgres_server: Plug, redis_server: RedisPlug, directory: Path) -> Iterator[Lab]:
    """A lab with one worker, which must live through every loss here.

    Without prepared statements each statement and its COMMIT are sent by themselves.
    """
    with own_lab(
        postgres_server.url,
        redis_server.url,
        directory,
        SIMULATED_WORK_SECONDS="0.1",
        DATABASE_PREPARED_STATEMENTS="false",
    ) as own:
        own.service.worker_app = "tests.faults.worker_app"
        own.service.start_worker()
        yield own


@pytest.fixture(autouse=True)
def neighbour(lossy_lab: Lab) -> Iterator[int]:
    """A task that runs meanwhile, and is none the worse for it."""
    task_id = lossy_lab.start("sleep", seconds=1)
    yield task_id
    assert_ran_once(lossy_lab, task_id)
    assert lossy_lab.service.processes["worker"].poll() is None


def assert_ran_once(lab: Lab, task_id: int) -> list[str]:
    """Assert that a task completes with its first attempt; return its timeline's names."""
    done = lab.service.wait_until(task_id, "COMPLETED", "FAILED", "CANCELLED")
    assert (done["status"], done["attempt"]) == ("COMPLETED", 1)
    assert lab.ledger.words(task_id) == ["1 started", "1 finished"]
    assert rows(lab)[task_id].crashes == 0
    names = timeline(lab, task_id).names()
    assert [names.count(name) for name in ("created", "claimed", "completed")] == [1, 1, 1]
    return names


def post(lab: Lab) -> tuple[int, int | None]:
    """Create a task through the API; return the status code and the id, if it was told."""
    with lab.service.client() as client:
        answer = client.post("/tasks/", json={"title": "a task"})
    assert answer.status_code == 201 or is_honest_503(answer)
    return answer.status_code, answer.json().get("id")


# In which transition's transaction, and what is lost: the answer to its statement, so that it is
# rolled back, or to its COMMIT, so that it holds.
LOSSES = {
    f"{loss} of {transition}": (transition, request, after)
    for transition in ("dispatched", "claimed", "completed")
    for loss, request, after in (
        ("the statement", f"'{transition}'".encode(), b""),
        ("the COMMIT", COMMIT, f"'{transition}'".encode()),
    )
} | {
    f"{loss} of a heartbeat": ("renewed", request, after)
    for loss, request, after in (
        ("the statement", b"RETURNING tasks.cancel_requested_at IS NOT NULL", b""),
        ("the COMMIT", COMMIT, b"RETURNING tasks.cancel_requested_at IS NOT NULL"),
    )
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_task_runs_once_and_soon_whatever_answer_is_lost(
    lossy_lab: Lab, postgres_server: Plug, name: str
) -> None:
    transition, request, after = LOSSES[name]
    proxy = postgres_server.proxy
    lost_before = proxy.answers_cut

    proxy.cut_answer_to(request, after=after)
    status, task_id = post(lossy_lab)
    asked_at = time.monotonic()
    assert status == 201
    assert task_id is not None
    wait_for(lambda: proxy.answers_cut > lost_before, 5, f"{name} is lost")
    wait_for(lambda: lossy_lab.service.read(task_id)["status"] == "COMPLETED", 30, "it is done")
    took = time.monotonic() - asked_at

    figure(f"answer lost to {name}: done", took)
    names = assert_ran_once(lossy_lab, task_id)
    assert took < RUNS_WITHIN
    # A worker that is faster claims a task of which no message is on record.
    assert transition not in {"claimed", "completed"} or names.count(transition) == 1, names
    # The worker knows, too; not that it had lost the task.
    end = rf"task {task_id}: attempt 1 ends after \S+ s: COMPLETED"
    wait_for(lambda: re.search(end, lossy_lab.service.log("worker")), 5, "the worker says so")


@pytest.fixture(scope="module")
def prepared_lab(
    postgres: servers.Postgres, valkey: servers.Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Lab, Plug]]:
    """A lab as it is by default: a statement is carried out and committed in one go."""
    directory = tmp_path_factory.mktemp("lost_answers_prepared")
    with (
        postgres_plug(postgres, directory) as plug,
        redis_plug(valkey, directory) as redis,
        own_lab(plug.url, redis.url, directory, SIMULATED_WORK_SECONDS="0.1") as own,
    ):
        own.service.worker_app = "tests.faults.worker_app"
        own.service.start_worker()
        # Every connection has prepared what it needs; what follows is sent by its name alone.
        for _ in range(3):
            own.service.wait_until(own.service.create()["id"], "COMPLETED")
        yield own, plug


@pytest.mark.parametrize("transition", ["dispatched", "claimed", "completed"])
def test_a_task_runs_once_and_soon_when_the_answer_to_a_prepared_statement_is_lost(
    prepared_lab: tuple[Lab, Plug], transition: str
) -> None:
    lab, plug = prepared_lab
    lost_before = plug.proxy.answers_cut
    plug.proxy.cut_answer_to(f"EXECUTE {transition}_".encode())

    status, task_id = post(lab)

    assert status == 201
    assert task_id is not None
    wait_for(lambda: plug.proxy.answers_cut > lost_before, 5, f"the answer to {transition} is lost")
    lab.service.wait_until(task_id, "COMPLETED", seconds=RUNS_WITHIN)
    assert_ran_once(lab, task_id)


def test_a_post_whose_answer_to_a_prepared_statement_is_lost_may_be_stored_and_then_runs_once(
    prepared_lab: tuple[Lab, Plug],
) -> None:
    lab, plug = prepared_lab
    before = rows(lab)
    plug.proxy.cut_answer_to(b"EXECUTE created_")

    assert post(lab) == (503, None)

    (created,) = rows(lab).keys() - before.keys()
    lab.service.wait_until(created, "COMPLETED", seconds=RUNS_WITHIN)
    assert_ran_once(lab, created)


@pytest.mark.parametrize("lost", [b"'created'", COMMIT], ids=["the statement", "the COMMIT"])
def test_a_post_whose_answer_from_the_database_is_lost_is_there_whole_or_not_at_all(
    lossy_lab: Lab, postgres_server: Plug, lost: bytes
) -> None:
    before = rows(lossy_lab)
    proxy = postgres_server.proxy

    proxy.cut_answer_to(lost, after=b"'created'" if lost == COMMIT else b"")
    status, task_id = post(lossy_lab)

    assert (status, task_id) == (503, None)
    new = rows(lossy_lab).keys() - before.keys()
    assert len(new) == (1 if lost == COMMIT else 0)
    for created in new:
        # Nobody told the dispatcher of it; the maintenance loop finds it.
        lossy_lab.service.wait_until(created, "COMPLETED", "FAILED", seconds=RUNS_WITHIN)
        assert_ran_once(lossy_lab, created)


def test_a_failure_whose_record_is_lost_is_counted_once(
    lossy_lab: Lab, postgres_server: Plug
) -> None:
    proxy = postgres_server.proxy
    lost_before = proxy.answers_cut
    proxy.cut_answer_to(COMMIT, after=b"'retry_scheduled'")

    task_id = lossy_lab.start("fails_twice", max_attempts=3)
    done = lossy_lab.service.wait_until(task_id, "COMPLETED", "FAILED")

    assert proxy.answers_cut == lost_before + 1
    assert (done["status"], done["attempt"]) == ("COMPLETED", 3)
    row = rows(lossy_lab)[task_id]
    assert (row.failures, row.crashes) == (2, 0)
    assert timeline(lossy_lab, task_id).names().count("retry_scheduled") == 2


def test_a_cancel_whose_answer_is_lost_is_carried_out(
    lossy_lab: Lab, postgres_server: Plug
) -> None:
    task_id = lossy_lab.start("sleep", seconds=60)
    postgres_server.proxy.cut_answer_to(COMMIT, after=b"'cancel_requested'")

    with lossy_lab.service.client() as client:
        assert is_honest_503(client.post(f"/tasks/{task_id}/cancel"))

        lossy_lab.service.wait_until(task_id, "CANCELLED", seconds=5)
        assert client.post(f"/tasks/{task_id}/cancel").status_code == 200
    assert lossy_lab.ledger.words(task_id) == ["1 started"]


@pytest.mark.parametrize(
    ("asked", "holding"),
    [(b"LPUSH", b""), (b"BRPOP", b"app.run_task")],
    ids=["a message was taken by Redis", "a message was handed out"],
)
def test_a_task_runs_once_and_soon_when_redis_and_a_client_disagree_about_its_message(
    lossy_lab: Lab, redis_server: RedisPlug, asked: bytes, holding: bytes
) -> None:
    proxy = redis_server.proxy
    lost_before = proxy.answers_cut
    proxy.cut_answer_to(asked, holding=holding)
    # The worker asks once a second. What it had asked before is answered by a task of no interest.
    tasks: list[int] = []

    def is_lost() -> bool:
        status, task_id = post(lossy_lab)
        assert status == 201
        assert task_id is not None
        tasks.append(task_id)
        return proxy.answers_cut > lost_before

    wait_for(is_lost, 10, "an answer is lost")
    asked_at = time.monotonic()
    wait_for(
        lambda: {lossy_lab.service.read(task_id)["status"] for task_id in tasks} == {"COMPLETED"},
        30,
        "all are done",
    )
    took = time.monotonic() - asked_at

    figure(f"answer lost to {asked.decode()}: done", took)
    for task_id in tasks:
        assert_ran_once(lossy_lab, task_id)
    assert took < RUNS_WITHIN
