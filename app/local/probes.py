"""Questions to servers over the network, each with a bounded wait: does it answer, or why not?"""

import http.client
import socket
import ssl
from urllib.parse import SplitResult, unquote, urlsplit

from app.local.ports import LOOPBACK

HTTP_TIMEOUT_SECONDS = 3.0
CONNECT_TIMEOUT_SECONDS = 3.0


def http_is_ok(port: int, path: str) -> bool:
    """Tell whether a local server answers `path` with 200."""
    # Not urllib, which would ask the proxy that the environment may name.
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=HTTP_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def database_problem(url: str) -> str | None:
    """Return why nothing answers at a PostgreSQL address, or None.

    Only the way to the server is tried; whether it lets us in is for the migrations to say. An
    address without a host (a Unix socket), or with several, is left to them altogether.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        # Not why: the reason may quote a part of the password, where that has a slash.
        return "is not an address"
    if not parts.hostname or "," in parts.netloc:
        return None
    try:
        with socket.create_connection((parts.hostname, port), CONNECT_TIMEOUT_SECONDS):
            return None
    except OSError as error:
        return f"cannot be reached at {parts.hostname}:{port} ({_reason(error)})"


def redis_problem(url: str) -> str | None:
    """Return why a Redis or Valkey at this address is of no use, or None when it answers a PING."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        return "is not an address"
    host = parts.hostname or "localhost"
    try:
        with _connected(parts, host, port) as connection:
            answer = _ping(connection, unquote(parts.username or ""), unquote(parts.password or ""))
    except OSError as error:
        return f"cannot be reached at {host}:{port} ({_reason(error)})"
    if answer.startswith(b"+PONG"):
        return None
    refusal = answer.decode(errors="replace").strip().lstrip("-") or "no answer"
    return f"is refused by {host}:{port} ({refusal})"


def _connected(parts: SplitResult, host: str, port: int) -> socket.socket:
    connection = socket.create_connection((host, port), CONNECT_TIMEOUT_SECONDS)
    if parts.scheme != "rediss":
        return connection
    context = ssl.create_default_context()
    # Only whether it answers is asked here; the service checks the certificate as it is told to.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def _ping(connection: socket.socket, user: str, password: str) -> bytes:
    """Return the first line that is an error, or else the answer to PING."""
    with connection.makefile("rwb") as stream:
        if password:
            stream.write(_command("AUTH", *([user] if user else []), password))
            stream.flush()
            answer: bytes = stream.readline()
            if not answer.startswith(b"+OK"):
                return answer
        stream.write(_command("PING"))
        stream.flush()
        return stream.readline()


def _command(*words: str) -> bytes:
    """Return a command as Redis's protocol wants it: lengths are in bytes."""
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return error.strerror or str(error)
