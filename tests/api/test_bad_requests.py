"""Paths, queries, methods and framing that a hostile client sends."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api.answers import JSON, assert_names, assert_problem, exchange, raw_request
from tests.service import Service

JSON_TYPE = "Content-Type: application/json"


@pytest.fixture(autouse=True)
def nothing_happens(idle: Service, idle_client: httpx.Client) -> Iterator[None]:
    """The API lives, and its log holds no stack trace."""
    log = len(idle.log("api"))
    yield
    assert idle_client.get("/health/live").status_code == 200
    assert "Traceback" not in idle.log("api")[log:]


@pytest.mark.parametrize(
    "task_id",
    [
        "0", "-1", str(2**63), str(2**64), "-" + str(2**63), "9" * 5000, "abc", "1e3", "0x10",
        "1.5", "NaN", "null", "%00", "1%00", "%ff%fe", "%ed%a0%80", "%20", "1%20OR%201=1",
        "%F0%9F%98%80", "%0d%0aX-Evil:%201", "..%2f1", "%25", "%3f", "%23", "\\", "*",
        "1%E2%80%83", "1%0B", "%201", "+1", "1_0", "1.0", "%D9%A1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_an_id_that_cannot_be_is_refused(idle: Service, method: str, task_id: str) -> None:
    cancel = "/cancel" if method == "POST" else ""
    body = b'{"title":"a"}'
    headers = [JSON_TYPE, f"Content-Length: {len(body)}"]
    request = raw_request(f"{method} /tasks/{task_id}{cancel}", *headers, body=body)

    answer = exchange(idle, request)

    # A percent-encoded slash is a slash, so that "..%2f1" is a path that does not exist.
    problem = assert_problem(answer, 404 if "%2f" in task_id else 422)
    assert "x-evil" not in answer.headers
    assert [error["pointer"] for error in problem.get("errors", [])] in ([], ["#/task_id"])


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "#/limit"),
        ("limit=-1", "#/limit"),
        ("limit=1001", "#/limit"),
        ("limit=ten", "#/limit"),
        ("limit=", "#/limit"),
        ("limit=1e2", "#/limit"),
        ("limit=1.5", "#/limit"),
        (f"limit={2**64}", "#/limit"),
        ("limit=%00", "#/limit"),
        ("limit=%ff", "#/limit"),
        ("limit=%ed%a0%80", "#/limit"),
        ("limit=5&limit=0", "#/limit"),
        ("skip=-1", "#/skip"),
        (f"skip={2**63}", "#/skip"),
        ("skip=x", "#/skip"),
        ("skip=", "#/skip"),
        ("before=0", "#/before"),
        ("before=-1", "#/before"),
        (f"before={2**63}", "#/before"),
        ("before=now", "#/before"),
        ("before=", "#/before"),
        ("status=DONE", "#/status/0"),
        ("status=new", "#/status/0"),
        ("status=", "#/status/0"),
        ("status=%00", "#/status/0"),
        ("status=NEW&status=%ed%b0%80", "#/status/1"),
        ("status=NEW,", "#/status/1"),
        ("status=NEW,,PENDING", "#/status/1"),
        ("status=%27%20OR%201=1--", "#/status/0"),
        ("priority=URGENT", "#/priority/0"),
        ("priority=", "#/priority/0"),
        ("priority=HIGH&priority=low", "#/priority/1"),
        ("priority=HIGH%00", "#/priority/0"),
        ("status=" + "A" * 50_000, "#/status/0"),
    ],
    ids=lambda value: value[:40],
)
@pytest.mark.parametrize("path", ["/tasks/", "/tasks"])
def test_a_wrong_parameter_is_named(
    idle_client: httpx.Client, path: str, query: str, pointer: str
) -> None:
    body = assert_names(idle_client.get(f"{path}?{query}"), pointer)

    assert body["errors"][0]["in"] == "query"


def test_every_wrong_parameter_is_named(idle_client: httpx.Client) -> None:
    response = idle_client.get("/tasks/?limit=0&skip=-1&before=x&status=a&priority=b")

    assert_names(response, "#/limit", "#/skip", "#/before", "#/status/0", "#/priority/0")


@pytest.mark.parametrize(
    "query", ["%00=%00", "%ed%a0%80=1", "=", "&&&", "%", "a=%zz", "a[]=1&a[b]=2"]
)
def test_a_parameter_that_nobody_knows_is_ignored(idle_client: httpx.Client, query: str) -> None:
    assert idle_client.get(f"/tasks/?limit=1&{query}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/task", "/tasks/1/", "/tasks/1/nothing", "/tasks/1/cancel/", "/tasks//", "//",
        "//tasks/", "//evil.example/x", "/%00", "/%ed%a0%80", "/%ff", "/..", "/../../etc/passwd",
        "/static-offline-docs/..%2f..%2fmain.py", "/static-offline-docs/nothing.js", "/%3F%23",
        "/" + "a" * 50_000, "/" + "a/" * 20_000, "/TASKS/", "/tasks%00", "/health/", "/.env",
    ],
    ids=lambda path: path[:40],
)  # fmt: skip
def test_a_path_that_does_not_exist_is_not_found(idle: Service, path: str) -> None:
    assert_problem(exchange(idle, raw_request(f"GET {path}")), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/tasks/", "GET, HEAD, POST"),
        ("DELETE", "/tasks", "GET, HEAD, POST"),
        ("OPTIONS", "/tasks/", "GET, HEAD, POST"),
        ("HEAD", "/tasks/1/cancel", "POST"),
        ("PROPFIND", "/tasks/", "GET, HEAD, POST"),
        ("PATCH", "/tasks/1", "DELETE, GET, HEAD, PUT"),
        ("POST", "/tasks/1", "DELETE, GET, HEAD, PUT"),
        ("TRACE", "/tasks/1", "DELETE, GET, HEAD, PUT"),
        ("MKCOL", "/tasks/1", "DELETE, GET, HEAD, PUT"),
        ("GET", "/tasks/1/cancel", "POST"),
        ("GET", "/tasks/1/retry", "POST"),
        ("POST", "/tasks/1/attempts", "GET, HEAD"),
        ("PUT", "/tasks/1/events", "GET, HEAD"),
        ("DELETE", "/tasks/1/logs", "GET, HEAD"),
        ("POST", "/task-types/", "GET, HEAD"),
        ("DELETE", "/task-types", "GET, HEAD"),
        ("PATCH", "/tasks/broken", "DELETE, GET, HEAD, POST, PUT"),
        ("POST", "/", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/health/live", "GET, HEAD"),
        ("PUT", "/metrics", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("POST", "/static-offline-docs/swagger-ui.css", "GET, HEAD"),
    ],
)
def test_a_method_that_a_path_lacks_is_answered_with_those_it_has(
    idle: Service, method: str, path: str, allowed: str
) -> None:
    answer = exchange(idle, raw_request(f"{method} {path}"))

    assert answer.headers["allow"].upper() == allowed
    if method == "HEAD":
        assert (answer.status_code, answer.content) == (405, b"")
    else:
        assert_problem(answer, 405)


@pytest.mark.parametrize(
    "host",
    ["", "[", "[::1", "a b", '"><script>', "\u00ff\u00fe", "a:99999", "a:b", "a@b", "a/../b"],
)
@pytest.mark.parametrize(("path", "status"), [("/tasks/?limit=1", 200), ("/nothing", 404)])
def test_a_strange_host_does_no_harm(idle: Service, host: str, path: str, status: int) -> None:
    for _ in range(2):
        idle.create()

    answer = exchange(idle, raw_request(f"GET {path}", host=host))

    assert answer.status_code in {status, 400}
    assert "<script>" not in answer.headers.get("link", "")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Content-Length: 5"], b'{"title":"a"}'),
        (["Content-Length: 0"], b'{"title":"a"}'),
        (["Content-Length: 2097152"], b"{}"),
        ([f"Content-Length: {2**62}"], b"{}"),
        (["Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n"),
        ([], b""),
    ],
)
def test_a_length_that_is_not_true_is_a_problem(
    idle: Service, headers: list[str], body: bytes
) -> None:
    answer = exchange(idle, raw_request("POST /tasks/", JSON_TYPE, *headers, body=body))

    assert_problem(answer, 413, 422)


@pytest.mark.parametrize(
    "request_bytes",
    [
        raw_request("POST /tasks/", JSON_TYPE, "Content-Length: abc", body=b"{}"),
        raw_request("POST /tasks/", JSON_TYPE, "Content-Length: -1", body=b"{}"),
        raw_request("POST /tasks/", JSON_TYPE, f"Content-Length: {2**70}", body=b"{}"),
        raw_request("POST /tasks/", "Content-Length: 2", "Content-Length: 3", body=b"{}"),
        raw_request(
            "POST /tasks/", "Content-Length: 2", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"
        ),
        raw_request("POST /tasks/", JSON_TYPE, "Transfer-Encoding: chunked", body=b"zz\r\n{}"),
        raw_request("POST /tasks/", JSON_TYPE, "Transfer-Encoding: gzip", body=b"{}"),
        raw_request("NONSENSE /tasks/"),
        raw_request("GET /tasks/\u00ff"),
        raw_request("GET /tasks/?limit=\u00ff"),
        raw_request("GET /" + "a" * 200_000),
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    ],
    ids=lambda request: request[:30].decode("latin-1"),
)
def test_what_is_not_http_is_refused_by_the_server_itself(
    idle: Service, request_bytes: bytes
) -> None:
    # uvicorn answers these before there is a request that we could answer; they stay plain text.
    answer = exchange(idle, request_bytes)

    assert answer.status_code == 400
    assert answer.content == b"Invalid HTTP request received."


def test_a_client_that_goes_away_in_the_middle_of_its_body_is_forgotten(
    idle: Service, idle_client: httpx.Client
) -> None:
    newest = idle.create()["id"]

    with idle.client() as leaving, pytest.raises(httpx.WriteError):
        leaving.post("/tasks/", content=broken_off(), headers=JSON)

    assert idle_client.get("/tasks/?limit=1").json()[0]["id"] == newest


def broken_off() -> Iterator[bytes]:
    yield b'{"title":'
    raise httpx.WriteError("the client has gone")


def test_very_many_headers_and_pipelined_requests_are_answered(idle: Service) -> None:
    many = [f"X-{number}: y" for number in range(2_000)]
    first = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"

    answer = exchange(idle, first * 5 + raw_request("GET /tasks/nothing", *many))

    assert answer.status_code == 200
    assert answer.content.count(b"HTTP/1.1 200 OK") == 4
    assert answer.content.count(b"HTTP/1.1 422 ") == 1
