"""An answer's body: read up to a limit, decoded, and told as JSON, text or base64."""

import base64
import codecs
import json
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from app.domain.stored_json import stored_size
from app.handlers.http_request.redaction import Redaction

Encoding = Literal["json", "text", "base64"]

# What each member of a gzip body begins with (RFC 1952, section 2.3.1).
_GZIP = 0x1F
# Beyond the limit, so much may be read of a compressed body that holds nothing but padding.
_PADDING = 65_536
# Deeper than that, other readers of the result would give up.
_DEEPEST = 100
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_JSON_TYPE = re.compile(r"application/json|text/json|[^/]+/[^/]+\+json", re.IGNORECASE)
# No encodings of texts, or ones that take very long.
_NO_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}


class BrokenBody(Exception):
    """A body that is not compressed as its Content-Encoding says."""


@dataclass(frozen=True, slots=True)
class Body:
    """What was read of a body. `encoded` says that it is compressed in a way we do not know."""

    data: bytes
    truncated: bool = False
    encoded: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """A body as a JSON value, and as the text that it was, if it was one."""

    value: Any
    encoding: Encoding | None
    text: str | None = None


def read(response: httpx.Response, most: int) -> Body:
    """Read a body, but no more than `most` bytes of it, as they are after decompression.

    Raises:
        BrokenBody: it cannot be decompressed.
        httpx.TransportError: it breaks off.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    encoded = False
    match coding:
        case "" | "identity":
            parts = response.iter_raw()
        case "gzip" | "x-gzip" | "deflate":
            parts = _decompressed(response.iter_raw(), most)
        case _:
            parts, encoded = response.iter_raw(), True
    data = bytearray()
    for part in parts:
        data += part[: most + 1 - len(data)]
        if len(data) > most:
            return Body(bytes(data[:most]), truncated=True, encoded=encoded)
    return Body(bytes(data), encoded=encoded)


def _decompressed(parts: Iterator[bytes], most: int) -> Iterator[bytes]:
    """Yield what the parts decompress to, in pieces of at most `most` + 1 bytes."""
    # 47: the largest window, and either of the headers of gzip and zlib (zlib's manual).
    inflater, taken, is_gzip = zlib.decompressobj(47), 0, False
    for part in parts:
        if not taken and part:
            is_gzip = part[0] == _GZIP
            if not is_gzip and part[0] & 0x0F != 8:
                # Some servers send "deflate" without zlib's header (RFC 9110, section 8.4.1.2).
                inflater = zlib.decompressobj(-15)
        taken += len(part)
        rest = part
        while rest:
            if inflater.eof:
                # A gzip body may have several members, one after the other (RFC 1952, section 2.2);
                # what else follows is padding.
                if not is_gzip or rest[0] != _GZIP:
                    return
                inflater = zlib.decompressobj(31)
            try:
                yield inflater.decompress(rest, most + 1)
            except zlib.error:
                raise BrokenBody("the answer's body is not compressed as it says") from None
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        if taken > most + _PADDING:
            raise BrokenBody("the answer's body holds nothing but padding")
    if taken and not inflater.eof:
        raise BrokenBody("the answer's compressed body breaks off")


def tell(body: Body, content_type: str, redaction: Redaction) -> Told:
    """Return a body as a JSON value, without secrets."""
    if not body.data:
        return Told(None, None)
    text = None if body.encoded else _text(body, content_type)
    if text is None:
        data = redaction.data(body.data)
        if body.truncated:
            data = redaction.data_without_cut_secret(data)
        return Told(base64.b64encode(data).decode("ascii"), "base64")
    clean = redaction.text(text)
    if body.truncated:
        clean = redaction.without_cut_secret(clean)
        return Told(clean, "text", clean)
    if _JSON_TYPE.fullmatch(content_type.partition(";")[0].strip()):
        try:
            return Told(redaction.json(_json(text)), "json", clean)
        except (ValueError, RecursionError):
            # It only says that it is JSON.
            pass
    return Told(clean, "text", clean)


def _text(body: Body, content_type: str) -> str | None:
    """Return a body as text; None if it is none."""
    charset = httpx.Response(200, headers={"content-type": content_type}).charset_encoding
    # With "-sig" a mark of the byte order at the beginning is left out.
    name = "utf-8-sig"
    if charset:
        try:
            "".encode(charset)
            found = codecs.lookup(charset).name
            name = name if found in _NO_CHARSETS | {"utf-8"} else found
        except (LookupError, ValueError):
            pass
    try:
        decoder = codecs.getincrementaldecoder(name)()
        # The last character of a body that was cut may be half of one.
        text = decoder.decode(body.data, final=not body.truncated)
    except (UnicodeError, ValueError):
        return None
    return None if _CONTROLS.search(text) else text


def _json(text: str) -> Any:
    """Return the value of a JSON text (RFC 8259).

    Raises:
        ValueError: it is none, or one that not every reader would read alike or at all.
        RecursionError: it is nested too deeply.
    """
    value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        match item:
            case dict():
                waiting += [(inner, depth + 1) for inner in item.values()]
            case list():
                waiting += [(inner, depth + 1) for inner in item]
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def fit(told: Told, room: int) -> tuple[Told, bool]:
    """Return a body of at most so many bytes of JSON, and whether it had to be cut for that."""
    if size(told.value) <= room:
        return told, False
    encoding: Encoding = "base64" if told.text is None else "text"
    text: str = told.value if told.text is None else told.text
    while text and (needed := size(text)) > room:
        keep = min(len(text) * max(room, 0) // needed, len(text) - 1)
        text = text[: keep - keep % 4 if encoding == "base64" else keep]
    return Told(text, encoding), True


def size(value: Any) -> int:
    """Return how many bytes of JSON a value is, as its storage counts them."""
    return stored_size(value)
