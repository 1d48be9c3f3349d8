"""Runs documented curl commands: with curl itself where there is one, and otherwise its request."""

import json
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


def run(command: str) -> Answer:
    """Run a single curl command and return the answer."""
    return _with_curl(command) if shutil.which("curl") else _with_httpx(command)


def _with_curl(command: str) -> Answer:
    # The options come after the command, so that the shell reads it as it stands in the document.
    done = subprocess.run(
        ["sh", "-c", command + " -sS --max-time 20 -w '\\n%{http_code}'"],
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=True,
    )
    text, _, status = done.stdout.rpartition("\n")
    return Answer(int(status), text)


def _with_httpx(command: str) -> Answer:
    words = iter(shlex.split(command.replace("\\\n", " "))[1:])
    method, url, headers, body = "GET", "", {}, None
    for word in words:
        match word:
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words).encode()
            case _:
                url = word
    response = httpx.request(method, url, headers=headers, content=body, timeout=20)
    return Answer(response.status_code, response.text)
