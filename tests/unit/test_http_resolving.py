"""From a URL's host to a connection: resolved once, every address checked, one of them used.

No address outside of this machine is ever connected to here.
"""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest

from app.domain.targets import parse_targets
from app.handlers import PermanentError
from app.handlers.http_request import network
from app.handlers.http_request.network import CheckedBackend, Exchange

PUBLIC = "93.184.216.34"


class Resolver:
    """Names that tests have made up; everything else is left to the system."""

    def __init__(self) -> None:
        self.names: dict[str, Iterator[list[str]]] = {}
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        self.asked.append(host)
        if host not in self.names:
            return self._real(host, port, *args, **options)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in next(self.names[host])
        ]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    own = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", own)
    return own


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where connections would have gone; all of them are refused."""
    hosts: list[str] = []

    def connect_tcp(self: object, host: str, *args: Any, **options: Any) -> None:
        hosts.append(host)
        raise httpcore.ConnectError("refused")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_tcp)
    return hosts


def connect(host: str, port: int = 80, allow: str = "") -> httpcore.NetworkStream:
    exchange = Exchange()
    exchange.begin(2)
    return CheckedBackend(parse_targets(allow), exchange).connect_tcp(host, port)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0X7F.1"),
        *("0177.0.0.1", "017700000001", "0177.0x0.1", "localhost", "LOCALHOST", "127.0.0.1."),
        *("::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0", "0.0.0.0", "::"),
        *("0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "169.254.43518"),
    ],
)
def test_no_spelling_of_an_address_gets_through(
    host: str, connected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def without_asking(name: str, *args: Any, **options: Any) -> list[Any]:
        # What is no number would be asked of the machine's name server, which may be out of reach.
        if name.lower() != "localhost":
            options["flags"] = socket.AI_NUMERICHOST
        return resolve(name, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", without_asking)
    # Some systems do not know one or the other spelling; that is as good.
    with pytest.raises((PermanentError, httpcore.ConnectError)):
        connect(host)
    assert connected == []


def test_the_spellings_are_resolved_here_and_refused() -> None:
    for host, address in (("2130706433", "127.0.0.1"), ("0x7f.1", "127.0.0.1")):
        with pytest.raises(PermanentError, match=f"{host} is at {address}, which is no public"):
            connect(host)


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    resolver: Resolver, connected: list[str]
) -> None:
    for answer in ([PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC] * 30 + ["10.0.0.1"]):
        resolver.names["mixed.test"] = iter([answer])
        with pytest.raises(PermanentError, match=r"mixed\.test is at 10\.0\.0\.1"):
            connect("mixed.test")
    assert connected == []


def test_a_name_that_changes_its_mind_is_asked_once_and_gains_nothing(
    resolver: Resolver, connected: list[str]
) -> None:
    resolver.names["rebinding.test"] = iter([[PUBLIC], ["127.0.0.1"]])
    with pytest.raises(httpcore.ConnectError):
        connect("rebinding.test")
    assert (connected, resolver.asked) == ([PUBLIC], ["rebinding.test"])

    with pytest.raises(PermanentError, match=r"127\.0\.0\.1"):
        connect("rebinding.test")
    assert connected == [PUBLIC]


def test_further_addresses_are_tried_when_the_first_cannot_be_reached(
    resolver: Resolver, connected: list[str]
) -> None:
    resolver.names["two.test"] = iter([[PUBLIC, PUBLIC, "8.8.8.8"]])
    with pytest.raises(httpcore.ConnectError):
        connect("two.test")
    assert connected == [PUBLIC, "8.8.8.8"]


def test_a_resolver_that_hangs_takes_no_longer_than_the_exchange(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()

    def hang(*args: Any, **options: Any) -> list[Any]:
        release.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began_at = time.monotonic()
    with pytest.raises(httpcore.ConnectTimeout, match="not resolved in time"):
        network.resolve("slow.test", 80, 0.2)
    assert time.monotonic() - began_at < 2
    release.set()


@pytest.mark.parametrize(
    "failure",
    [
        socket.gaierror(-2, "Name or service not known"),
        UnicodeError("label too long"),
        RuntimeError("x"),
    ],
)
def test_a_name_that_cannot_be_resolved_is_a_network_error(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> list[Any]:
        raise failure

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(httpcore.ConnectError, match=r"no\.test cannot be resolved"):
        network.resolve("no.test", 80, 2)


def test_an_empty_answer_of_the_resolver_is_a_network_error(
    resolver: Resolver,
) -> None:
    resolver.names["empty.test"] = iter([[]])
    with pytest.raises(httpcore.ConnectError):
        network.resolve("empty.test", 80, 2)
