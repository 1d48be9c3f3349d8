"""docs/http-request.md followed literally: its targets, its request, the result that it shows."""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.handlers.http_request.payload import HttpRequest
from app.settings import Settings
from tests import documents, servers
from tests.service import FINAL, Service, running
from tests.support import free_port, wait_for

DOCUMENT = servers.ROOT / "docs" / "http-request.md"
KEY = b"0123456789abcdef0123456789abcdef"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
PORTS = {"python": free_port(), "js": free_port()}


@pytest.fixture(scope="module")
def site(
    postgres: servers.Postgres,
    valkey: servers.Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    with (
        postgres.database() as database_url,
        valkey.database() as redis_url,
        running(
            database_url,
            redis_url,
            tmp_path_factory.mktemp("docs"),
            WORKER_CONCURRENCY="1",
            HTTP_REQUEST_ALLOW=",".join(f"127.0.0.1:{port}" for port in PORTS.values()),
            HTTP_REQUEST_SECRET=SECRET,
        ) as own,
    ):
        yield own


@contextmanager
def target(language: str, directory: Path) -> Iterator[Path]:
    """Run the document's target in this language; yield the file that it prints to."""
    program = {"python": sys.executable, "js": shutil.which("node")}[language]
    if program is None:
        pytest.skip("Node.js is not installed")
    (code,) = documents.blocks(DOCUMENT, language)
    source = directory / f"target.{'py' if language == 'python' else 'mjs'}"
    source.write_text(code.text, encoding="utf-8")
    printed = directory / "printed"
    environment = {**os.environ, "SECRET": SECRET, "PORT": str(PORTS[language])}
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [program, str(source)], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_for(lambda: answers(PORTS[language]), 20, f"{source} answers: {printed.read_text()}")
        yield printed
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    try:
        return httpx.post(f"http://127.0.0.1:{port}/", headers=signed("", b"{}")).status_code > 0
    except httpx.TransportError:
        return False


def signed(message_id: str, body: bytes, key: bytes = KEY, at: float = 0) -> dict[str, str]:
    timestamp = str(int(at or time.time()))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return {
        "Idempotency-Key": message_id,
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def request_of_the_document() -> dict:
    (command,) = [text for text in documents.commands(DOCUMENT) if "/tasks/ -H" in text]
    (body,) = re.findall(r"-d '(\{.*?\n\})'", command, flags=re.DOTALL)
    return json.loads(body)


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_documents_target_does_the_documents_task(
    site: Service, tmp_path: Path, language: str
) -> None:
    body = request_of_the_document()
    body["payload"]["url"] = body["payload"]["url"].replace("9000", str(PORTS[language]))
    (shown,) = documents.blocks(DOCUMENT, "json")
    expected = json.loads(shown.text)
    # The target is not there yet.
    body["max_attempts"] = 100
    body["backoff"] = {"initial_seconds": 0.5, "factor": 1, "jitter": False}
    with site.client() as client:
        created = client.post("/tasks/", json=body)
        assert created.status_code == 201, created.text
        task_id = created.json()["id"]
        wait_for(lambda: "NoAnswer" in (site.read(task_id)["error_info"] or ""), 20, "it was tried")
        with target(language, tmp_path) as printed:
            done = site.wait_until(task_id, *FINAL)
            assert done["status"] == "COMPLETED", done
            result = done["result"]
            assert result.keys() == expected.keys()
            for name in ("status", "body", "body_encoding", "truncated", "headers_truncated"):
                assert result[name] == expected[name]
            assert f"task {task_id} attempt {done['attempt']}" in printed.read_text()

            url, content = body["payload"]["url"], b'{"text":"one two"}'
            for headers in (
                {},
                signed("a", content, key=b"another"),
                signed("a", content, at=time.time() - 600),
                {**signed("a", content), "webhook-id": "b"},
            ):
                assert httpx.post(url, content=content, headers=headers).status_code == 401
            # A second request with the same key does nothing again.
            for text in ("one two", "one two three"):
                again = json.dumps({"text": text}).encode()
                answer = httpx.post(url, content=again, headers=signed("a", again))
                assert (answer.status_code, answer.json()) == (200, {"words": 2})


def test_the_settings_and_fields_that_the_document_names_exist() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    names = {name.upper() for name in Settings.model_fields}
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)) - {"SSL_CERT_FILE", "HTTP_PROXY"}
    assert named <= names
    table = documents.table_with(DOCUMENT, "follow_redirects")
    fields = {field.alias or name for name, field in HttpRequest.model_fields.items()}
    assert set(table.first_column()) == fields
