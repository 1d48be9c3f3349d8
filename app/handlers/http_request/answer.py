"""The result of a task, made of an answer: without secrets, and never too large to be stored."""

from collections.abc import Sequence
from typing import Any

from app.handlers.http_request import body
from app.handlers.http_request.body import Told
from app.handlers.http_request.exchange import Answer
from app.handlers.http_request.redaction import Redaction

# The names of the result's own fields and the numbers in it, in bytes of JSON.
_FRAME = 320


def result(
    answer: Answer, told: Told, redaction: Redaction, *, most_header_bytes: int, most_bytes: int
) -> dict[str, Any]:
    """Return the result of at most `most_bytes` bytes of JSON; the body is cut first."""
    headers, headers_truncated = _headers(
        redaction.headers(answer.headers), min(most_header_bytes, most_bytes // 4)
    )
    url = redaction.text(answer.url)[: most_bytes // 4]
    room = most_bytes - _FRAME - body.size(headers) - body.size(url)
    fitting, was_cut = body.fit(told, room)
    return {
        "status": answer.status,
        "url": url,
        "headers": headers,
        "headers_truncated": headers_truncated,
        "body": fitting.value,
        "body_encoding": fitting.encoding,
        "truncated": answer.body.truncated or was_cut,
        "duration_seconds": round(answer.seconds, 3),
    }


def _headers(headers: Sequence[tuple[str, str]], most: int) -> tuple[dict[str, str], bool]:
    """Return headers by name, repeated ones joined, up to so many bytes of JSON."""
    joined: dict[str, str] = {}
    for name, value in headers:
        # RFC 9110, section 5.3. Those of Set-Cookie, which cannot be joined, are not shown.
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    kept: dict[str, str] = {}
    for name, value in joined.items():
        room = most - body.size(kept) - body.size(name) - 4
        if body.size(value) <= room:
            kept[name] = value
            continue
        start = body.fit(Told(value, "text", value), room)[0].value
        if start:
            kept[name] = start
        return kept, True
    return kept, False
