"""JSON as PostgreSQL's jsonb keeps it, and how large it is when it comes back from there."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

_SEPARATORS = (",", ":")


def stored_size(value: Any) -> int:
    """Return how many bytes of JSON without spaces a plain JSON value has when it is read back.

    jsonb keeps numbers in decimal (PostgreSQL's manual, "JSON Types"): 1e308 has 309 digits there.

    Raises:
        RecursionError: it is nested too deeply.
    """
    text = json.dumps(value, ensure_ascii=False, separators=_SEPARATORS)
    size = len(text.encode("utf-8", "surrogatepass"))
    return size + sum(_more_digits(number) for number in _floats(value))


def _more_digits(number: float) -> int:
    written = repr(number)
    # Only an exponent hides digits; so it is with neither an infinity nor a NaN.
    return len(format(Decimal(written), "f")) - len(written) if "e" in written else 0


def _floats(value: Any) -> Iterator[float]:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case float() as number:
                yield number
            case dict() as items:
                waiting += items.values()
            case list() as items:
                waiting += items


def encoded(value: Any, most_bytes: int) -> str:
    """Return any value as JSON text of about `most_bytes` bytes at most.

    It is written piece by piece: a value that is small in memory may be endless as text, since it
    may hold the same part many times.

    Raises:
        ValueError: it is larger.
        TypeError, ValueError, RecursionError: it is no JSON.
    """
    # allow_nan: RFC 8259, section 6, has neither NaN nor infinities.
    encoder = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=_SEPARATORS)
    pieces, size = [], 0
    for piece in encoder.iterencode(value):
        size += len(piece)
        if size > most_bytes:
            raise TooLargeError
        pieces.append(piece)
    return "".join(pieces)


class TooLargeError(ValueError):
    """A value has more bytes of JSON than are allowed."""
