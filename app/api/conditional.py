"""Answers a client that polls without a body when nothing has changed (RFC 9110, section 13)."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from fastapi import Request
from fastapi.responses import Response


class Tagged(NamedTuple):
    """A body in JSON, and its ETag."""

    body: bytes
    tag: str


def tagged(json: bytes) -> Tagged:
    """Return a body with its ETag: a hash of it, which changes with whatever can be seen."""
    return Tagged(json, f'"{hashlib.sha256(json).hexdigest()[:32]}"')


def answer(request: Request, found: Tagged, headers: Mapping[str, str] | None = None) -> Response:
    """Return a body with its ETag, or 304 where the client has this very body already."""
    # no-cache: kept answers are to be compared each time (RFC 9111, section 5.2.2.4).
    described = {"ETag": found.tag, "Cache-Control": "no-cache", **(headers or {})}
    # A list may come in several lines (RFC 9110, section 5.3).
    known = ",".join(request.headers.getlist("if-none-match"))
    if known and _is_among(found.tag, known):
        return Response(status_code=304, headers=described)
    return Response(found.body, headers=described, media_type="application/json")


def _is_among(tag: str, known: str) -> bool:
    """Compare weakly, as RFC 9110, section 13.1.2, asks: a proxy may have marked a tag as weak."""
    if known.strip() == "*":
        return True
    return tag in {each.strip().removeprefix("W/") for each in known.split(",")}
