"""Connections for httpx: only to addresses that were checked, and within an exchange's time.

httpcore, which httpx is built on, asks a network backend for its connections and reads and writes
through the streams that it returns. Ours resolves the name itself, checks every address that comes
back, and connects to one of exactly those, so that a name that changes its mind between check and
connection gains nothing. TLS still checks the certificate against the URL's host name.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable

import httpcore

from app.domain.targets import Address, AllowedTargets
from app.handlers.errors import PermanentError
from app.handlers.http_request import addresses

# What a target may send before an answer's headers are complete, provisional answers included.
_LARGEST_HEAD = 262_144
# How many of a name's addresses are tried.
_MOST_ADDRESSES = 16


class Exchange:
    """The exchange that this process is in: until when it may last, and what has happened yet."""

    def __init__(self) -> None:
        self.begin(0.0)

    def begin(self, seconds: float) -> None:
        """Start anew, with so many seconds to go."""
        self._ends_at = time.monotonic() + seconds
        self.request()

    def request(self) -> None:
        """Start a request of this exchange."""
        self.connections = 0
        self.received = 0
        self.has_head = False

    def left(self, error: type[httpcore.TimeoutException]) -> float:
        """Return how many seconds are left; raise the error if there are none."""
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0:
            raise error("the time is up")
        return seconds


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that `addresses.may_connect` accepts, and to no others."""

    def __init__(self, allowed: AllowedTargets, exchange: Exchange) -> None:
        self._allowed = allowed
        self._exchange = exchange
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, check and connect.

        Raises:
            PermanentError: an address is not to be connected to.
            httpcore.ConnectError, httpcore.ConnectTimeout: none could be reached.
        """
        found = resolve(host, port, self._exchange.left(httpcore.ConnectTimeout))
        for address in found:
            if not addresses.may_connect(host, address, port, self._allowed):
                place = "" if host == str(address) else f" is at {address}, which"
                raise PermanentError(
                    f"{_shown(host)}{place} is no public address; HTTP_REQUEST_ALLOW can open it"
                )
        return self._connect(found[:_MOST_ADDRESSES], port, socket_options)

    def _connect(
        self,
        found: list[Address],
        port: int,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.NetworkStream:
        options = list(socket_options or ())
        for position, address in enumerate(found):
            # None may use up the time of those after it.
            share = self._exchange.left(httpcore.ConnectTimeout) / (len(found) - position)
            try:
                # A literal address is not resolved again.
                stream = self._plain.connect_tcp(
                    str(address), port, timeout=share, socket_options=options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if position == len(found) - 1:
                    raise
            else:
                self._exchange.connections += 1
                return TimedStream(stream, self._exchange)
        raise AssertionError("resolve() returns addresses or raises")


class TimedStream(httpcore.NetworkStream):
    """A connection whose every read and write has only what is left of the exchange's time."""

    def __init__(self, stream: httpcore.NetworkStream, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, at most so many bytes."""
        data = self._stream.read(max_bytes, self._exchange.left(httpcore.ReadTimeout))
        exchange = self._exchange
        exchange.received += len(data)
        if not exchange.has_head and exchange.received > _LARGEST_HEAD:
            raise httpcore.RemoteProtocolError("the headers never end")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send it all."""
        # Not through the stream, which gives each part of it the whole time-out again.
        connection = self._stream.get_extra_info("socket")
        rest = memoryview(buffer)
        while rest:
            seconds = self._exchange.left(httpcore.WriteTimeout)
            try:
                connection.settimeout(seconds)
                rest = rest[connection.send(rest) :]
            except TimeoutError as error:
                raise httpcore.WriteTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return the same connection with TLS on it."""
        seconds = self._exchange.left(httpcore.ConnectTimeout)
        try:
            secure = self._stream.start_tls(ssl_context, server_hostname, seconds)
        except BaseException:
            self._stream.close()
            raise
        return TimedStream(secure, self._exchange)

    def get_extra_info(self, info: str) -> object:
        """Return what httpcore asks about the connection."""
        return self._stream.get_extra_info(info)


def resolve(host: str, port: int, seconds: float) -> list[Address]:
    """Return a name's addresses, each once and in order, within so many seconds.

    Raises:
        httpcore.ConnectError: it has none.
        httpcore.ConnectTimeout: the resolver does not answer.
    """
    # The system's resolver has time-outs of its own, and cannot be interrupted in them.
    answers: queue.SimpleQueue[list[Address] | Exception] = queue.SimpleQueue()
    threading.Thread(
        target=_look_up, args=(host, port, answers), name="resolver", daemon=True
    ).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise httpcore.ConnectTimeout(f"{_shown(host)} was not resolved in time") from None
    if isinstance(answer, Exception):
        reason = getattr(answer, "strerror", None) or type(answer).__name__
        raise httpcore.ConnectError(f"{_shown(host)} cannot be resolved: {reason}") from None
    return answer


def _look_up(host: str, port: int, answers: "queue.SimpleQueue[list[Address] | Exception]") -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        each = dict.fromkeys(addresses.parsed(str(place[4][0])) for place in found)
        if not each:
            raise ValueError("no address")
        answers.put(list(each))
    except Exception as error:
        # For the thread that waits.
        answers.put(error)


def _shown(host: str) -> str:
    return host if len(host) <= 100 else host[:99] + "…"
