"""Answers a client that polls without a body when nothing has changed (RFC 9110, section 13)."""

import hashlib
from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import Response


def answer(request: Request, json: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON with its ETag, or 304 where the client has this very body already.

    The ETag is a hash of the body, so that it changes with whatever can be seen.
    """
    body = json.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    # no-cache: kept answers are to be compared each time (RFC 9111, section 5.2.2.4).
    described = {"ETag": tag, "Cache-Control": "no-cache", **(headers or {})}
    known = request.headers.get("if-none-match")
    if known is not None and _is_among(tag, known):
        return Response(status_code=304, headers=described)
    return Response(body, headers=described, media_type="application/json")


def _is_among(tag: str, known: str) -> bool:
    """Compare weakly, as RFC 9110, section 13.1.2, asks: a proxy may have marked a tag as weak."""
    if known.strip() == "*":
        return True
    return tag in {each.strip().removeprefix("W/") for each in known.split(",")}
