"""How an answer's body becomes part of a result: cut, decompressed, told as JSON, text, base64."""

import base64
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.handlers.http_request import body
from app.handlers.http_request.answer import result
from app.handlers.http_request.body import Body, BrokenBody, Told
from app.handlers.http_request.exchange import Answer
from app.handlers.http_request.redaction import Redaction

NOTHING = Redaction({})
JSON = "application/json"


class Parts(httpx.SyncByteStream):
    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts


def read(*parts: bytes, coding: str = "", most: int = 1000) -> Body:
    headers = {"content-encoding": coding} if coding else {}
    return body.read(httpx.Response(200, headers=headers, stream=Parts(*parts)), most)


def tell(data: bytes | str, kind: str = "", **options: Any) -> tuple[Any, str | None]:
    told = body.tell(
        Body(data if isinstance(data, bytes) else data.encode(), **options), kind, NOTHING
    )
    return told.value, told.encoding


# -- Reading ------------------------------------------------------------------------------------


def test_a_body_is_read_up_to_the_limit_and_marked_when_cut() -> None:
    assert read(b"abc", b"def", most=6) == Body(b"abcdef")
    assert read(b"abc", b"defg", most=6) == Body(b"abcdef", truncated=True)
    assert read(b"x" * 10_000, most=0) == Body(b"", truncated=True)
    assert read(most=0) == Body(b"")


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("X-GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data)[2:-4]),
    ],
)
def test_a_compressed_body_is_decompressed(coding: str, compress: Any) -> None:
    data = json.dumps(list(range(200))).encode()
    small = compress(data)
    assert read(small, coding=coding) == Body(data)
    assert read(*(small[i : i + 1] for i in range(len(small))), coding=coding) == Body(data)
    assert read(small, coding=coding, most=10) == Body(data[:10], truncated=True)


def test_all_members_of_a_gzip_body_are_read() -> None:
    members = gzip.compress(b"abc") + gzip.compress(b"") + gzip.compress(b"def")
    for parts in ([members], [members[i : i + 1] for i in range(len(members))]):
        assert read(*parts, coding="gzip") == Body(b"abcdef")
        assert read(*parts, coding="gzip", most=4) == Body(b"abcd", truncated=True)
        # As other programs do, tar for one.
        assert read(*parts, b"\0" * 100, coding="gzip") == Body(b"abcdef")
    with pytest.raises(BrokenBody, match="breaks off"):
        read(members[:-1], coding="gzip")
    with pytest.raises(BrokenBody, match="padding"):
        read(*[gzip.compress(b"") * 1000] * 10, coding="gzip")


def test_an_empty_body_is_empty_however_it_is_said_to_be_compressed() -> None:
    assert read(coding="gzip") == Body(b"")


def test_a_bomb_costs_no_memory() -> None:
    small = gzip.compress(b"\0" * 100 * 1024 * 1024)
    tracemalloc.start()
    found = read(*(small[i : i + 65_536] for i in range(0, len(small), 65_536)), coding="gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == Body(b"\0" * 1000, truncated=True)
    assert peak < 2_000_000


def test_a_body_that_never_decompresses_to_anything_is_given_up() -> None:
    empty_block = b"\x00\x00\x00\xff\xff"
    with pytest.raises(BrokenBody, match="padding"):
        read(gzip.compress(b"")[:10], *[empty_block * 10_000] * 10, coding="gzip")


# Without a time, which would give the processes that run the tests one name each.
@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(b"x" * 100, mtime=0)[:20], b"\x1f"])
def test_a_body_that_is_not_compressed_as_it_says_is_an_error(data: bytes) -> None:
    with pytest.raises(BrokenBody):
        read(data, coding="gzip")


def test_a_compression_that_we_do_not_know_is_left_as_it_is() -> None:
    assert read(b"text", coding="br") == Body(b"text", encoded=True)
    assert tell(b"text", JSON, encoded=True) == (base64.b64encode(b"text").decode(), "base64")


# -- Telling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [JSON, "application/json; charset=utf-8", "Application/Problem+JSON", "text/json"]
)
def test_json_is_parsed_when_it_says_that_it_is(kind: str) -> None:
    assert tell('{"a": [1, 2.5, null, "ж"]}', kind) == ({"a": [1, 2.5, None, "ж"]}, "json")
    assert tell("\ufeffnull", kind) == (None, "json")


def test_json_that_does_not_say_so_is_text() -> None:
    assert tell("[1]", "text/plain") == ("[1]", "text")
    assert tell("[1]", "") == ("[1]", "text")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "NaN", "[Infinity]", "[-Infinity]", "1e999", "[1] x", "'a'", "[1,]"),
        "[" * 200 + "]" * 200,
        "[" * 50_000,
        "9" * 5000,
    ],
)
def test_what_is_no_strict_json_is_text(text: str) -> None:
    assert tell(text, JSON) == (text or None, "text" if text else None)


def test_json_that_was_cut_is_text() -> None:
    assert tell("[1, 2", JSON, truncated=True) == ("[1, 2", "text")
    assert tell("[1, 2]", JSON, truncated=True) == ("[1, 2]", "text")


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        ("текст".encode(), "text/plain", "текст"),
        ("текст".encode("cp1251"), "text/plain; charset=windows-1251", "текст"),
        ("текст".encode("utf-16"), 'text/plain; charset="utf-16"', "текст"),
        (b"caf\xe9", "text/plain; charset=latin-1", "café"),
        (b"a\tb\r\nc\x0c", "", "a\tb\r\nc\x0c"),
        (b"abc", "text/plain; charset=nonsense", "abc"),
        (b"abc", "text/plain; charset=base64", "abc"),
        (b"abc", "text/plain; charset=unicode_escape", "abc"),
        (b"abc", "text/plain; charset=punycode", "abc"),
        (b"abc", "text/plain; charset=\x00", "abc"),
        (b"abc", "image/png", "abc"),
    ],
)
def test_text_is_told_in_its_charset(data: bytes, kind: str, text: str) -> None:
    assert tell(data, kind) == (text, "text")


def test_half_a_character_at_a_cut_is_left_out() -> None:
    assert tell("abж".encode()[:-1], "text/plain", truncated=True) == ("ab", "text")
    assert tell("abж".encode()[:-1], "text/plain")[1] == "base64"


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0", b"a\0b", b"\xff\xfe", b"\x1b[31m"])
def test_what_is_no_text_is_base64(data: bytes) -> None:
    assert tell(data, "text/plain") == (base64.b64encode(data).decode(), "base64")


def test_secrets_are_taken_out_of_every_kind() -> None:
    redaction = Redaction({"X-Token": 'top"secret'})
    for data, kind, cut, expected in (
        (b'{"a": "my top\\"secret"}', JSON, False, {"a": "my **********"}),
        (b'{"a": "my top\\"secret"', JSON, False, '{"a": "my **********"'),
        (b'see top"secret, top"sec', "", True, "see **********, "),
        (b'\0top"secret\0top"s', "", True, base64.b64encode(b"\0**********\0").decode()),
    ):
        assert body.tell(Body(data, truncated=cut), kind, redaction).value == expected


# -- Fitting into a result ----------------------------------------------------------------------


def test_a_body_that_fits_stays_as_it_is() -> None:
    told = Told([1, 2], "json", "[1,2]")
    assert body.fit(told, 6) == (told, False)


@pytest.mark.parametrize("room", [0, 1, 2, 5, 100, 1000])
@pytest.mark.parametrize("text", ["x" * 5000, '"\\\n' * 2000, "ж" * 3000, "a" + "\x7f€" * 3000])
def test_a_text_is_cut_to_the_room_that_it_takes_once_escaped(text: str, room: int) -> None:
    told, was_cut = body.fit(Told(text, "text", text), room)
    assert was_cut
    assert text.startswith(told.value)
    assert body.size(told.value) <= max(room, 2)
    if room >= 100:
        assert body.size(told.value) > room * 0.8


def test_numbers_count_with_the_digits_that_they_are_stored_with() -> None:
    numbers = [1e300] * 10
    told = Told(numbers, "json", json.dumps(numbers))
    assert body.fit(told, 3000 + 11 + 10) == (told, False)
    cut, was_cut = body.fit(told, 3000)
    assert (cut.encoding, was_cut) == ("text", True)


def test_json_that_is_too_large_becomes_text() -> None:
    text = json.dumps(list(range(1000)))
    told, was_cut = body.fit(Told(json.loads(text), "json", text), 100)
    assert (told.encoding, was_cut) == ("text", True)
    assert text.startswith(told.value)


def test_base64_that_was_cut_is_still_base64() -> None:
    data = bytes(range(256)) * 10
    told, was_cut = body.fit(Told(base64.b64encode(data).decode(), "base64"), 99)
    assert was_cut
    assert data.startswith(base64.b64decode(told.value, validate=True))


@pytest.mark.parametrize("most", [1024, 5000, 262_144])
@pytest.mark.parametrize("text", ["", "\\" * 300_000, "ж" * 200_000])
def test_a_result_is_never_larger_than_it_may_be(most: int, text: str) -> None:
    headers = [(f"x-{number}", '"' * 100) for number in range(2000)]
    answer = Answer(200, "OK", "http://x/" + "a" * 8000, headers, Body(text.encode()), 1e5 / 3)
    told = Told(text, "text", text) if text else Told(None, None)
    made = result(answer, told, NOTHING, most_header_bytes=16_384, most_bytes=most)
    assert body.size(made) <= most
    assert made["headers_truncated"]
    assert made["truncated"] is (len(text) > most // 2)
    if text:
        assert body.size(made) > most * 0.7


def test_headers_are_joined_and_cut_at_their_limit() -> None:
    headers = [("a", "1"), ("b", "2"), ("a", "3"), ("set-cookie", "x"), ("long", "y" * 2000)]
    answer = Answer(200, "OK", "http://x/", headers, Body(b""), 0.12345)
    made = result(answer, Told(None, None), NOTHING, most_header_bytes=1024, most_bytes=262_144)
    kept = made["headers"]
    assert (kept["a"], kept["b"], kept["set-cookie"]) == ("1, 3", "2", "**********")
    assert made["headers_truncated"]
    assert 900 < len(kept["long"]) < 1000
    assert made["duration_seconds"] == 0.123
