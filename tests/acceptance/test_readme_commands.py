"""Every command of the READMEs: curl is run here, and for each other one the test is named.

Both READMEs have the same commands (`tests/unit/test_readme.py`), so that one is enough to run.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from tests import curl, documents, servers
from tests.documents import ENGLISH
from tests.servers import ROOT
from tests.service import Service, running

pytestmark = pytest.mark.acceptance

CURLS = [text for text in documents.commands(ENGLISH) if text.startswith("curl ")]
OTHERS = [text for text in documents.commands(ENGLISH) if not text.startswith("curl ")]
COMPLETED_TASK, REFUSAL = (block.text for block in documents.blocks(ENGLISH, "json"))

BY_HAND = "tests/acceptance/test_by_hand.py"
NEWMAN = (
    "npx newman run TaskManager.postman_collection.json --env-var base_url=http://localhost:8000"
)
# The test that runs a command; its file names the command, unless NAMED_IN says otherwise.
RUN_ELSEWHERE = {
    "make run": (
        "tests/acceptance/test_make_run.py",
        "test_the_printed_curl_line_creates_a_task_that_completes",
    ),
    "pip install -r requirements.txt": (BY_HAND, "test_the_requirements_are_complete"),
    "alembic upgrade head": (BY_HAND, "test_migrating_twice_changes_nothing"),
    "uvicorn main:app --reload": (BY_HAND, "test_a_task_completes"),
    "celery -A app.worker.celery worker --loglevel=info": (BY_HAND, "test_a_task_completes"),
    "celery -A app.worker.celery flower --port=5555": (
        BY_HAND,
        "test_flower_shows_a_task_by_its_handler_id_and_title",
    ),
    NEWMAN: (
        "tests/acceptance/test_postman.py",
        "test_the_collection_runs_green_twice_on_the_same_service_and_leaves_nothing",
    ),
    "uvicorn main:app --workers 2": (BY_HAND, "test_several_api_processes_share_a_port"),
}
# Where the command stands, and how, when not in one piece in the test's own file.
NAMED_IN = {
    "make run": ("tests/local_run.py", '("make", "run")'),
    NEWMAN: (
        "tests/acceptance/test_postman.py",
        '"run", str(COLLECTION), "--env-var", f"base_url=',
    ),
}
# Commands that no test can run, with the reason.
RUN_BY_NO_TEST = {
    "make test": "it is what runs this test",
    "make check": "the gate beside `make test`, which would do its work twice",
    "make bench": "half an hour of load, for which a machine has to be free",
    "make faults": "an hour or two of what `make test` does in its short form",
    "docker-compose up -d": "needs Docker; the file is held to its promises without it",
    "docker-compose up -d --scale worker=3": "needs Docker, as above",
}


@pytest.fixture(scope="module")
def fresh(
    postgres: servers.Postgres, valkey: servers.Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service on an empty database, so that ids start at 1, whose tasks run for a minute."""
    with (
        postgres.database() as database_url,
        valkey.database() as redis_url,
        running(
            database_url,
            redis_url,
            tmp_path_factory.mktemp("readme"),
            SIMULATED_WORK_SECONDS="60",
            # The documented one names the port as well, which is not known yet.
            HTTP_REQUEST_ALLOW="localhost",
        ) as service,
    ):
        yield service


def ask(service: Service, command: str) -> curl.Answer:
    """Run a documented command against the service under test, and change nothing else in it."""
    assert "http://localhost:8000" in command
    return curl.run(command.replace("localhost:8000", f"localhost:{service.port}"))


def created(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 201
    task = answer.json()
    assert (task["id"], task["title"], task["priority"]) == (1, "Тестовая задача", "HIGH")
    assert task["description"] == "Описание тестовой задачи"
    service.wait_until(1, "IN_PROGRESS")


def types_listed(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 200
    documented = documents.table_with(ENGLISH, "http_request").first_column()
    documented += documents.table_with(ENGLISH, "memory").first_column()
    built_in = {name for row in documented for name in row.split("`, `")} - {"word_count"}
    assert {task_type["name"] for task_type in answer.json()} == built_in


def called(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 201
    task = service.wait_until(answer.json()["id"], "COMPLETED", "FAILED")
    assert task["status"] == "COMPLETED", task["error_info"]
    assert (task["result"]["status"], task["result"]["body"]) == (200, {"status": "ok"})


def scheduled(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 201
    task = answer.json()
    assert (task["status"], task["timeout_seconds"], task["max_attempts"]) == ("PENDING", 30, 5)
    created_at, run_at = (datetime.fromisoformat(task[name]) for name in ("created_at", "run_at"))
    assert run_at - created_at == timedelta(minutes=1)


def listed(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 200
    assert [task["id"] for task in answer.json()] == [3, 2, 1]


def selected(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 200
    assert [task["id"] for task in answer.json()] == [1]


def shown(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 200
    # The same fields in the same order.
    assert list(answer.json()) == list(json.loads(COMPLETED_TASK))


def attempts_read(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 200
    (attempt,) = answer.json()
    assert (attempt["number"], attempt["finished_at"], attempt["outcome"]) == (1, None, None)


def events_read(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 200
    names = [event["event"] for event in answer.json()]
    assert (names[0], names[-1]) == ("created", "claimed")


def logs_read(service: Service, answer: curl.Answer) -> None:
    assert (answer.status, answer.json()) == (200, [])


def changed(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 200
    assert answer.json()["priority"] == "LOW"
    assert answer.json()["title"] == "Тестовая задача"


def cancelled(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 202
    assert service.wait_until(1, "CANCELLED", seconds=10)["result"] is None
    again = curl.run(f"curl -X POST {service.url}/tasks/1/cancel")
    assert (again.status, again.json()["status"]) == (200, "CANCELLED")


def run_again(service: Service, answer: curl.Answer) -> None:
    assert (answer.status, answer.json()["status"]) == (200, "PENDING")
    task = service.wait_until(1, "IN_PROGRESS")
    assert (task["attempt"], task["max_attempts"]) == (2, 2)
    again = curl.run(f"curl -X POST {service.url}/tasks/1/retry")
    assert again.status == 409


def deleted(service: Service, answer: curl.Answer) -> None:
    assert (answer.status, answer.text) == (204, "")
    assert curl.run(f"curl {service.url}/tasks/1").status == 404


def fails(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 201
    task = service.wait_until(answer.json()["id"], "FAILED", "COMPLETED")
    assert task["status"] == "FAILED"
    assert "\n" not in task["error_info"]
    conflict = curl.run(f"curl -X POST {service.url}/tasks/{task['id']}/cancel")
    assert conflict.status == 409


def fails_twice(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 201
    task = service.wait_until(answer.json()["id"], "FAILED", "COMPLETED")
    assert (task["status"], task["attempt"], task["error_info"]) == ("COMPLETED", 3, None)


def named(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 200
    assert set(answer.json()) == {"name", "version", "links"}


def healthy(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 200
    assert set(answer.json()["checks"]) == {"database", "broker", "workers", "oldest_waiting"}


def live(service: Service, answer: curl.Answer) -> None:
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


def measured(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 200
    assert "task_manager_workers_alive 1.0" in answer.text


def refused(service: Service, answer: curl.Answer) -> None:
    assert answer.status == 422
    assert answer.json() == json.loads(REFUSAL)


# What comes of each curl command, in the order of the document.
OUTCOMES: list[Callable[[Service, curl.Answer], None]] = [
    created,
    types_listed,
    called,
    scheduled,
    listed,
    selected,
    shown,
    attempts_read,
    events_read,
    logs_read,
    changed,
    cancelled,
    run_again,
    deleted,
    fails,
    fails_twice,
    named,
    healthy,
    live,
    measured,
    refused,
]


def test_the_curl_commands_do_what_the_text_says(fresh: Service) -> None:
    assert len(CURLS) == len(OUTCOMES)
    for command, outcome in zip(CURLS, OUTCOMES, strict=True):
        outcome(fresh, ask(fresh, command))


def test_without_the_setting_the_call_of_the_service_itself_fails_and_says_so(
    service: Service,
) -> None:
    (command,) = [text for text in CURLS if "http_request" in text]
    task = service.wait_until(ask(service, command).json()["id"], "COMPLETED", "FAILED")
    assert (task["status"], task["attempt"], task["result"]) == ("FAILED", 1, None)
    assert "HTTP_REQUEST_ALLOW" in task["error_info"]


def test_a_completed_task_looks_as_shown(service: Service) -> None:
    task = service.create(title="Тестовая задача", priority="HIGH")
    done = service.wait_until(task["id"], "COMPLETED", "FAILED")
    example = json.loads(COMPLETED_TASK)

    assert {name: type(value) for name, value in done.items()} == {
        name: type(value) for name, value in (example | {"description": None}).items()
    }
    constant = ("title", "priority", "status", "error_info", "type", "payload", "queue", "attempt")
    constant += ("max_attempts", "backoff", "timeout_seconds", "cancel_requested_at")
    for name in (*constant, "progress", "progress_note"):
        assert done[name] == example[name], name


def test_the_commands_of_the_original_service_are_there_to_the_letter() -> None:
    assert {
        'curl -X POST "http://localhost:8000/tasks/" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        "  -d '{\n"
        '    "title": "Тестовая задача",\n'
        '    "description": "Описание тестовой задачи",\n'
        '    "priority": "HIGH"\n'
        "  }'",
        'curl -X GET "http://localhost:8000/tasks/"',
        'curl -X POST "http://localhost:8000/tasks/1/cancel"',
    } <= set(CURLS)


def test_every_other_command_is_accounted_for() -> None:
    assert set(OTHERS) == RUN_ELSEWHERE.keys() | RUN_BY_NO_TEST.keys()


@pytest.mark.parametrize("command", RUN_ELSEWHERE)
def test_the_test_that_runs_a_command_exists_and_names_it(command: str) -> None:
    file, function = RUN_ELSEWHERE[command]
    place, words = NAMED_IN.get(command, (file, f'"{command}"'))

    assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8")
    assert words in (ROOT / place).read_text(encoding="utf-8")
