"""What the API's tests share: the shape of an error, and requests that no client library sends."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import httpx

from tests.service import Service
from tests.support import wait_for

JSON = {"content-type": "application/json"}
# RFC 9110, section 15.
TITLES = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
MEMBERS = {"type": str, "title": str, "status": int, "detail": str, "instance": str}


@dataclass(frozen=True)
class RawAnswer:
    """An answer as it came through a socket, with the names of its headers in lower case."""

    status_code: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


def assert_problem(response: httpx.Response | RawAnswer, *statuses: int) -> dict[str, Any]:
    """Check that an answer is a whole problem (RFC 9457) with one of the statuses; return it."""
    assert response.status_code in statuses, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    for name, kind in MEMBERS.items():
        assert isinstance(body[name], kind), body
    assert body["status"] == response.status_code
    assert body["title"] == TITLES[response.status_code]
    assert body["detail"]
    assert body["instance"].isascii()
    assert body["instance"].startswith("/")
    assert "Traceback" not in response.text
    assert ("errors" in body) == (response.status_code == 422)
    for error in body.get("errors", []):
        assert error["in"] in {"body", "query", "path"}
        assert error["pointer"].startswith("#")
        assert error["detail"]
    return body


def assert_names(response: httpx.Response | RawAnswer, *pointers: str) -> dict[str, Any]:
    """Check that an answer is a 422 whose errors name exactly these places; return it."""
    body = assert_problem(response, 422)
    assert sorted({error["pointer"] for error in body["errors"]}) == sorted(pointers)
    return body


def resolve(pointer: str, document: Any) -> Any:
    """Return what a JSON pointer in a URI fragment leads to (RFC 6901, sections 4 and 6)."""
    assert pointer.startswith("#")
    found = document
    for step in unquote(pointer[1:], errors="surrogatepass").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


@contextmanager
def nothing_stored(service: Service) -> Iterator[None]:
    """Check that no task appears or changes meanwhile, and that the log has no stack trace."""
    newest = "/tasks/?limit=3"

    def is_on_record() -> bool:
        tasks.extend(client.get(newest).json())
        # The API records a moment after its answer that what is due lies in its queue.
        # Where it could not, none does in a service without a worker, and none changes any more.
        new = datetime.now(UTC) - timedelta(seconds=2)
        news = [each for each in tasks if each["status"] == "NEW"]
        times = [
            [datetime.fromisoformat(each[at]) for at in ("run_at", "created_at")] for each in news
        ]
        if not any(run_at <= created_at and created_at > new for run_at, created_at in times):
            return True
        tasks.clear()
        return False

    tasks: list[dict[str, Any]] = []
    with service.client() as client:
        wait_for(is_on_record, 5, "what was created before is on record")
        log = len(service.log("api"))
        yield
        assert client.get(newest).json() == tasks
    assert "Traceback" not in service.log("api")[log:]


def exchange(service: Service, request: bytes) -> RawAnswer:
    """Send bytes to the API and return its answer, once it has closed the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        try:
            connection.sendall(request)
            while chunk := connection.recv(65536):
                received += chunk
        except (BrokenPipeError, ConnectionResetError):
            # It may close before it has read everything; its answer came before that.
            pass
    head, _, content = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return RawAnswer(int(status.split(" ")[1]), headers, content)


def raw_request(line: str, *headers: str, body: bytes = b"", host: str = "localhost") -> bytes:
    """Return a request as bytes, whose answer ends the connection."""
    head = [f"{line} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
