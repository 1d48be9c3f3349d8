"""Routes whose only input is a JSON body, without what FastAPI does for inputs of every kind.

The class is FastAPI's own way to that (its documentation, "Custom Request and APIRoute class"). The
endpoint's signature still describes the route in the OpenAPI document; what is refused, and how the
error reads, is the same as everywhere.
"""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

_JSON_TYPE = re.compile(r"application/(json|.+\+json)")


class BodyRoute(APIRoute):
    """Calls `async def endpoint(request, body)`, its body an instance of the annotated model."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of this route's requests."""
        endpoint = self.endpoint
        model: type[BaseModel] = endpoint.__annotations__["body"]

        async def handle(request: Request) -> Response:
            raw = await require_json(request)
            try:
                body = model.__pydantic_validator__.validate_python(_parsed(raw))
            except ValidationError as error:
                found = error.errors(include_url=False, include_input=False)
                raise _invalid(
                    *({**each, "loc": ("body", *each["loc"])} for each in found)
                ) from None
            response: Response = await endpoint(request, body)
            return response

        return handle


async def require_json(request: Request) -> bytes:
    """Refuse a body that does not say it is JSON (RFC 9110, section 15.5.16), or is not UTF-8.

    Raises:
        HTTPException: 415, or 400.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not _JSON_TYPE.fullmatch(media_type):
        said = f"{media_type!r:.100}" if media_type else "nothing"
        raise HTTPException(
            415, f"Send the body as JSON, with Content-Type: application/json; it said {said}."
        )
    body = await request.body()
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise HTTPException(400) from error
    if b"\0" in body:
        # UTF-16 or UTF-32, which Python's json takes and RFC 8259, section 8.1, does not.
        raise HTTPException(400)
    return body


def _parsed(raw: bytes) -> Any:
    """Return the JSON value of a body.

    Raises:
        RequestValidationError: there is none, or it is not JSON.
        HTTPException: 400, it is JSON that Python does not read.
    """
    if not raw:
        raise _invalid({"type": "missing", "loc": ("body",), "msg": "Field required"})
    try:
        return json.loads(raw)
    except json.JSONDecodeError as error:
        place, said = ("body", error.pos), {"error": error.msg}
        fault = {"type": "json_invalid", "loc": place, "msg": "JSON decode error", "ctx": said}
        raise _invalid(fault) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or values nested too deeply.
        raise HTTPException(400) from error


def _invalid(*faults: Any) -> RequestValidationError:
    return RequestValidationError(faults)
