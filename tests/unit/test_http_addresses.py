"""Which addresses http_request connects to: no spelling of one that is not public gets through."""

import pytest
from pydantic import ValidationError

from app.domain.targets import AllowedTargets, parse_targets, signing_key
from app.handlers.http_request import addresses
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
    "2002:808:808::1",
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
