"""A target for http_request: an HTTP server that answers as a test tells it to, well or badly.

It runs in threads of the test's own process, writes down every request, and sees when a client
closes its connection.
"""

import gzip
import json
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import wait_for

# A certificate for target.test that vouches for itself, and its key; good for nothing else.
CERTIFICATE = Path(__file__).with_name("http_target.pem")


@dataclass
class Received:
    """One request; `connection` numbers the connections from 1. Times are by time.monotonic()."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float
    # Whether its behaviour goes on until the client closes the connection, and when it did.
    waits: bool = False
    closed_at: float | None = None

    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One connection, as a behaviour sees it while a request on it waits for its answer."""

    protocol_version = "HTTP/1.1"
    # Headers and body are sent one after the other; the second is not to wait for the first.
    disable_nagle_algorithm = True
    server: "_Server"
    received: Received
    number: int

    def setup(self) -> None:
        super().setup()
        self.number = self.server.target._connected(self.connection)

    def handle(self) -> None:
        # A client may be gone at any time; that is what some tests are about.
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.received = Received(
            self.command,
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length),
            self.number,
            time.monotonic(),
        )
        target = self.server.target
        target.requests.append(self.received)
        target.behaviours.get(self.path.partition("?")[0], answer())(self)

    def log_message(self, *args: Any) -> None:
        pass

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.wfile.write(data)

    @contextmanager
    def until_closed(self) -> Iterator[None]:
        """Write down when the client has closed the connection, at the end of the block."""
        self.close_connection = True
        self.received.waits = True
        with suppress(OSError):
            yield
        self.received.closed_at = time.monotonic()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    target: "Target"

    def handle_error(self, *args: Any) -> None:
        pass


@dataclass
class Target:
    """A running target; `behaviours` say how a path is answered, any other one with 200."""

    port: int
    scheme: str = "http"
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[Received] = field(default_factory=list)
    _connections: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def on(self, path: str, behaviour: Behaviour) -> str:
        """Let a path be answered so, and return its URL."""
        self.behaviours[path] = behaviour
        return self.url(path)

    def at(self, path: str) -> list[Received]:
        """Return the requests for a path, in their order."""
        return [each for each in self.requests if each.path == path]

    def wait_for(self, path: str, count: int = 1, seconds: float = 20) -> Received:
        """Return the last of so many requests for a path, once they have come."""
        wait_for(lambda: len(self.at(path)) >= count, seconds, f"{count} requests for {path}")
        return self.at(path)[count - 1]

    def _connected(self, connection: socket.socket) -> int:
        with self._lock:
            self._connections.append(connection)
            return len(self._connections)

    def drop_connections(self) -> None:
        """Close all connections from this side."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def target(*, tls: bool = False) -> Iterator[Target]:
    """Yield a target on a free port of the loopback interface."""
    server = _Server(("127.0.0.1", 0), Exchange)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.target = Target(server.server_address[1], "https" if tls else "http")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.target
    finally:
        server.shutdown()
        server.server_close()
        server.target.drop_connections()
        thread.join(5)


# -- Behaviours ---------------------------------------------------------------------------------


def answer(
    status: int = 200,
    body: bytes | str | Any = b'{"ok":true}',
    kind: str | None = "application/json",
    headers: list[tuple[str, str]] | None = None,
) -> Behaviour:
    """Answer so; a body that is neither bytes nor text is sent as JSON."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else None
    data = json.dumps(body).encode() if data is None else data

    def behave(exchange: Exchange) -> None:
        exchange.send_response(status)
        for name, value in headers or []:
            exchange.send_header(name, value)
        if kind:
            exchange.send_header("Content-Type", kind)
        exchange.send_header("Content-Length", str(len(data)))
        exchange.end_headers()
        if exchange.command != "HEAD":
            exchange.send(data)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave so one after another, and as the last one from then on."""
    waiting = list(behaviours)

    def behave(exchange: Exchange) -> None:
        (waiting.pop(0) if len(waiting) > 1 else waiting[0])(exchange)

    return behave


def redirect(location: str, status: int = 302) -> Behaviour:
    return answer(status, b"", None, [("Location", location)])


def raw(data: bytes) -> Behaviour:
    """Send bytes as they are, and close the connection."""

    def behave(exchange: Exchange) -> None:
        exchange.close_connection = True
        exchange.send(data)

    return behave


def echo(exchange: Exchange) -> None:
    """Answer with all that was received, in the body and in a header."""
    received = exchange.received
    seen = {
        "method": received.method,
        "path": received.path,
        "headers": received.headers,
        "body": received.body.decode("latin-1"),
    }
    headers = [("X-Echo", received.headers.get("authorization", "-"))]
    answer(200, seen, headers=headers)(exchange)


def hang(exchange: Exchange) -> None:
    """Never answer."""
    with exchange.until_closed():
        exchange.connection.recv(1)


def hang_after_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    hang(exchange)


def drip(start: bytes, piece: bytes, pause_seconds: float = 0.05) -> Behaviour:
    """Send a start, and then the same few bytes again and again."""

    def behave(exchange: Exchange) -> None:
        exchange.connection.settimeout(pause_seconds)
        with exchange.until_closed():
            exchange.send(start)
            while True:
                exchange.send(piece)
                try:
                    if not exchange.connection.recv(1):
                        break
                except TimeoutError:
                    continue

    return behave


def reset(exchange: Exchange) -> None:
    """Reset the connection, as a process does that is killed."""
    exchange.close_connection = True
    linger = struct.pack("ii", 1, 0)
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    # close() would wait for the files that were made of the socket.
    os.close(exchange.connection.detach())


def hang_up(exchange: Exchange) -> None:
    """Close the connection without an answer."""
    exchange.close_connection = True


def garbage(start: bytes = b"", block: bytes = b"\xff\x00garbage" * 1000) -> Behaviour:
    """Send a start, and then garbage until the client closes the connection."""

    def behave(exchange: Exchange) -> None:
        with exchange.until_closed():
            exchange.send(start)
            while True:
                exchange.send(block)

    return behave


def bomb(size_mib: int = 200) -> Behaviour:
    """Answer with a body that is tiny until it is decompressed."""
    data = gzip.compress(b"\0" * 1024 * 1024 * size_mib, 9)
    return answer(200, data, "text/plain", [("Content-Encoding", "gzip")])
