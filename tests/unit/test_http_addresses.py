"""Which addresses http_request connects to: no spelling of one that is not public gets through.

No address outside of this machine is ever connected to here.
"""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest
from pydantic import ValidationError

from app.domain.targets import AllowedTargets, parse_targets, signing_key
from app.handlers import PermanentError
from app.handlers.http_request import addresses, network
from app.handlers.http_request.network import CheckedBackend, Exchange
from app.settings import Settings

NOTHING = AllowedTargets()
PUBLIC = "93.184.216.34"

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",  # Alibaba's metadata
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # Azure's
    "169.254.169.254",  # that of most others
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",  # Oracle's
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fc00::1",
    "fd00:ec2::254",  # Amazon's
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "100::1",
    "2001:db8::1",
    "5f00::1",
]
# The same places, wrapped in IPv6.
WRAPPED = [
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:0:7f00:1::",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::168.63.129.16",
    "64:ff9b:1::8.8.8.8",
    "64:ff9b:1::10.0.0.1",
]


@pytest.mark.parametrize("text", [*NOT_PUBLIC, *WRAPPED])
def test_an_address_that_is_not_public_is_refused(text: str) -> None:
    assert not addresses.may_connect("example.com", addresses.parsed(text), 80, NOTHING)


@pytest.mark.parametrize(
    "text",
    [
        "8.8.8.8",
        PUBLIC,
        "192.0.1.1",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ],
)
def test_a_public_address_is_fine(text: str) -> None:
    assert addresses.may_connect("example.com", addresses.parsed(text), 80, NOTHING)


# -- HTTP_REQUEST_ALLOW -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "host", "address", "port", "is_open"),
    [
        ("internal", "internal", "10.0.0.1", 80, True),
        ("Internal.", "INTERNAL", "10.0.0.1", 443, True),
        ("internal", "internal.", "10.0.0.1", 80, True),
        ("internal", "sub.internal", "10.0.0.1", 80, False),
        ("internal:8080", "internal", "10.0.0.1", 8080, True),
        ("internal:8080", "internal", "10.0.0.1", 80, False),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai", "10.0.0.1", 80, True),
        ("10.0.0.0/8", "anything", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "anything", "11.1.2.3", 80, True),
        ("10.0.0.0/8", "anything", "192.168.0.1", 80, False),
        ("10.0.0.0/8", "anything", "::ffff:10.1.2.3", 80, True),
        ("10.0.0.0/8", "anything", "64:ff9b::10.1.2.3", 80, True),
        ("10.0.0.0/8", "anything", "64:ff9b::192.168.0.1", 80, False),
        ("10.0.0.1", "anything", "10.0.0.1", 1, True),
        ("10.0.0.1:80", "anything", "10.0.0.1", 80, True),
        ("10.0.0.1:80", "anything", "10.0.0.1", 81, False),
        ("::ffff:10.0.0.1", "anything", "10.0.0.1", 80, True),
        ("::1", "anything", "::1", 80, True),
        ("[::1]", "anything", "::1", 80, True),
        ("[::1]:8080", "anything", "::1", 8080, True),
        ("[::1]:8080", "anything", "::1", 80, False),
        ("fd00::/8", "anything", "fd12::1", 80, True),
        (" internal:81 ,, 127.0.0.1:9 ", "x", "127.0.0.1", 9, True),
    ],
)
def test_what_an_entry_opens(
    setting: str, host: str, address: str, port: int, *, is_open: bool
) -> None:
    allowed = parse_targets(setting)
    assert addresses.may_connect(host, addresses.parsed(address), port, allowed) is is_open


@pytest.mark.parametrize(
    "entry",
    [
        "http://internal",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "internal/24",
        "internal:0",
        "internal:65536",
        "internal:",
        "internal:http",
        "*.internal",
        "a b",
        "user@internal",
        "10.0.0",
        "10.0.0.256",
        "::1:8080:",
        "[::1",
        "[internal]:80",
        "-internal",
    ],
)
def test_an_entry_that_means_nothing_stops_the_program(entry: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(http_request_allow=f"fine,{entry}", _env_file=None)
    assert repr(entry) in refused.value.errors()[0]["msg"]


def test_a_secret_is_text_or_marked_base64() -> None:
    assert signing_key("") == b""
    assert signing_key("пароль") == "пароль".encode()
    assert signing_key("whsec_c2VjcmV0") == b"secret"
    for secret in ("whsec_", "whsec_not base64", "whsec_c2VjcmV"):
        with pytest.raises(ValidationError) as refused:
            Settings(http_request_secret=secret, _env_file=None)
        message = refused.value.errors()[0]["msg"]
        assert message == "Value error, must be plain text, or whsec_ followed by base64"


# -- Resolving and connecting -------------------------------------------------------------------


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
def test_no_spelling_of_an_address_gets_through(host: str, connected: list[str]) -> None:
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
