"""docs/task-types.md, followed to the letter: from an empty folder, against `make run`.

Every command is run as it stands, every file written as it is shown, and what the document shows
is compared with what came back.
"""

import http.server
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.handlers import PermanentError, RetryLater, TaskContext, registry
from app.handlers.registry import TaskType
from tests import curl, documents
from tests.local_run import LocalRun, started
from tests.servers import ROOT
from tests.service import FINAL
from tests.support import free_port, wait_for

pytestmark = pytest.mark.acceptance

DOCUMENT = ROOT / "docs" / "task-types.md"
BLOCKS = documents.blocks(DOCUMENT)
TEXT = DOCUMENT.read_text(encoding="utf-8")
SERVICE = "http://localhost:8000"
# RFC 3339 lets a fraction have any number of digits, or be missing.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
WORKER = re.compile(r"celery@[^/]+/\d+")
# What the curl commands of the walk are answered with, in their order.
STATUSES = [200, 201, 200, 200, 200, 200, 422, 201, 200]


@dataclass
class Reader:
    """Somebody who does what the document says."""

    home: Path
    stack: ExitStack
    run: LocalRun | None = None
    answers: list[curl.Answer] = field(default_factory=list)
    compared: int = 0

    def follow(self, block: documents.Block) -> None:
        match block.language:
            case "python":
                self.write(block.text)
            case "json":
                self.compare(json.loads(block.text))
            case "bash" if block.text.endswith("make run"):
                self.start(block.text)
            case "bash" if block.text.startswith("curl "):
                self.ask(block.text)
            case "bash":
                self.do(block.text)

    def write(self, text: str) -> None:
        """Write a file where the words before it say."""
        before = TEXT.partition(text)[0]
        name = re.findall(r"`\$HOME/(\S+\.py)`", before)[-1]
        (self.home / name).write_text(text + "\n", encoding="utf-8")

    def do(self, command: str) -> None:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, command: str) -> None:
        words = ("bash", "-c", command)
        self.run = self.stack.enter_context(started(self.home, *words, HOME=str(self.home)))
        self.run.wait_until_ready()

    def ask(self, command: str) -> None:
        assert self.run is not None
        assert SERVICE in command
        answer = curl.run(command.replace(SERVICE, self.run.url))
        self.answers.append(answer)
        if answer.status == 201:
            # "A moment later".
            task = int(answer.json()["id"])
            wait_for(lambda: self.run.status(task) in FINAL, 20, f"task {task} has ended")

    def compare(self, shown: Any) -> None:
        answer = self.answers[-1].json()
        if isinstance(answer, list) and isinstance(shown, dict):
            # One of them is shown.
            answer = next(each for each in answer if each["name"] == shown["name"])
        assert_same(_without_dispatch(shown), _without_dispatch(answer))
        self.compared += 1


def _without_dispatch(answer: Any) -> Any:
    """Return a timeline without its dispatch: a worker that is faster than the record has none."""
    if not isinstance(answer, list):
        return answer
    return [each for each in answer if each.get("event") != "dispatched"]


def assert_same(shown: Any, got: Any, place: str = "") -> None:
    """Compare what is shown with what came back, but for times, worker names and folders."""
    if isinstance(shown, dict):
        assert shown.keys() == got.keys(), place
        for name in shown:
            assert_same(shown[name], got[name], f"{place}/{name}")
    elif isinstance(shown, list):
        assert len(shown) == len(got), place
        for number, (one, other) in enumerate(zip(shown, got, strict=True)):
            assert_same(one, other, f"{place}/{number}")
    elif isinstance(shown, str):
        pattern = next((each for each in (TIME, WORKER) if each.fullmatch(shown)), None)
        pattern = pattern or re.compile(".*".join(map(re.escape, shown.split("…"))))
        assert pattern.fullmatch(got), (place, got)
    else:
        assert shown == got, place


def test_the_walk_leads_where_it_says(tmp_path: Path) -> None:
    test_command = ".venv/bin/python -m pytest $HOME/my-tasks"
    end = next(number for number, block in enumerate(BLOCKS) if block.text == test_command)
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack)

        for block in BLOCKS[: end + 1]:
            reader.follow(block)

        assert [answer.status for answer in reader.answers] == STATUSES
        assert reader.compared == 7
        assert sorted(path.name for path in (tmp_path / "my-tasks").glob("*.py")) == [
            "test_word_count.py",
            "word_count.py",
        ]
        assert reader.run is not None
        assert "task 1: attempt 1: 6 words to count" in reader.run.output
        reader.run.press_ctrl_c()
        reader.run.wait(20)
        assert reader.run.survivors(0) == []


def test_nothing_after_the_walk_is_left_untried() -> None:
    rest = BLOCKS[-4:]

    assert [block.language for block in rest] == ["text", "yaml", "python", "python"]
    override = yaml.safe_load(rest[1].text)
    known = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert set(override["services"]) == {"api", "worker"} <= set(known["services"])


# -- The handlers that are shown after it -------------------------------------------------------


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, TaskType]]:
    """What the last two examples register."""
    registry.load()
    found: dict[str, TaskType] = {}
    monkeypatch.setattr(registry, "_types", found)
    for block in documents.blocks(DOCUMENT, "python")[-2:]:
        exec(compile(block.text, "example", "exec"), {"__name__": "example"})
    return found


@contextmanager
def shop(status: int) -> Iterator[tuple[str, list[http.client.HTTPMessage]]]:
    """Yield the URL of a server that answers so, and the headers that it gets."""
    seen = []

    class Shop(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", seen
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, None), (429, RetryLater), (404, PermanentError), (503, httpx.HTTPStatusError)],
)
def test_the_order_example_does_what_its_table_says(
    types: dict[str, TaskType], status: int, error: type[Exception] | None
) -> None:
    order = types["send_order"]
    context = TaskContext(1, 1, 0, "a-token")
    with shop(status) as (url, seen):
        payload = {"number": 7, "shop": url, "api_key": "hunter2"}
        if error is None:
            assert order.run(payload, context) == {"status": 200}
        else:
            with pytest.raises(error):
                order.run(payload, context)
    assert seen[0]["Idempotency-Key"] == "a-token"
    assert seen[0]["Authorization"] == "Bearer hunter2"
    assert order.conceal(payload) == payload | {"api_key": "**********"}


def test_the_coroutine_example_runs(types: dict[str, TaskType]) -> None:
    context = TaskContext(1, 1, 0)
    with shop(200) as (url, _):
        port = int(url.rstrip("/").rpartition(":")[2])
        payload = {"names": ["127.0.0.1"], "port": port}
        assert types["reachable"].run(payload, context) == {"127.0.0.1": True}
    payload["port"] = free_port()
    assert types["reachable"].run(payload, context) == {"127.0.0.1": False}
    assert context.progress_fraction == 1
