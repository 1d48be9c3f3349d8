"""Every error answer, as application/problem+json (RFC 9457), mapped here and nowhere else.

Promises that an answer never echoes what the client sent beyond names of fields, and that nothing
a client sends can make rendering the error fail.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.errors import (
    InvalidTask,
    TaskAlreadyFinal,
    TaskNotEndedBadly,
    TaskNotFound,
    TroubleNotAllowed,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"
# A request may be wrong in as many places as it has bytes; the first of them are help enough.
_MOST_ERRORS = 50
# RFC 3986, section 3.3: what a path may hold as it is, beyond letters, digits and "-._~".
_SAFE_IN_PATH = "/:@!$&'()*+,;="
# RFC 3987, section 2.2: what a fragment cannot hold as it is; and "%", which begins an escape.
_NOT_IN_FRAGMENT = re.compile(r'[\x00-\x20"#%<>\[\\\]^`{|}\x7f-\x9f\ud800-\udfff]')
_LONGEST_POINTER = 250
_METHODS_OF_FILES = {"GET"}
# Seconds after which a client may try again when something the service needs is away.
RETRY_AFTER_SECONDS = 2

# As RFC 9110 has them; Python before 3.13 says what RFC 2616 and RFC 4918 said.
_PHRASES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}

log = logging.getLogger(__name__)


def problem(
    request: Request,
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """Return an error answer. `members` are added to the standard five."""
    phrase = _PHRASES.get(status) or HTTPStatus(status).phrase
    body = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "detail": detail,
        "instance": _instance(request),
        **members,
    }
    # A lone surrogate cannot be encoded; backslashreplace makes it the JSON escape that it was.
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(content, status, dict(headers or {}), MEDIA_TYPE)


def _instance(request: Request) -> str:
    """Return the path as the URI reference that RFC 9457 asks for (RFC 3986, section 4.2)."""
    path: str = request.scope["path"]
    # Two slashes at the start would make a host of what follows.
    return "/" + quote(path.lstrip("/"), safe=_SAFE_IN_PATH, errors="replace")


def install(app: FastAPI) -> None:
    """Map the service's errors and the framework's own to problems."""
    app.add_exception_handler(TaskNotFound, _not_found)
    app.add_exception_handler(TaskAlreadyFinal, _conflict)
    app.add_exception_handler(TaskNotEndedBadly, _conflict)
    app.add_exception_handler(TroubleNotAllowed, _forbidden)
    app.add_exception_handler(InvalidTask, _invalid_task)
    app.add_exception_handler(Unavailable, unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


def _not_found(request: Request, error: Exception) -> Response:
    return problem(request, 404, str(error))


def _conflict(request: Request, error: Exception) -> Response:
    return problem(request, 409, str(error))


def _forbidden(request: Request, error: Exception) -> Response:
    return problem(request, 403, str(error))


def unavailable(request: Request, error: Exception) -> Response:
    """Return the answer for a part of the service that is away for now."""
    log.warning("%s %s: %s", request.method, request.url.path, error)
    return problem(request, 503, str(error), headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def _invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return _not_valid(request, [_field_error(item) for item in found[:_MOST_ERRORS]])


def _invalid_task(request: Request, error: Exception) -> Response:
    """Map what the schema of the body cannot say: what the task's type and the limits ask for."""
    found = error.faults if isinstance(error, InvalidTask) else ()
    return _not_valid(
        request,
        [
            {"in": "body", "pointer": pointer(fault.path), "detail": _plain(fault.reason)}
            for fault in found[:_MOST_ERRORS]
        ],
    )


def _not_valid(request: Request, errors: Sequence[Mapping[str, str]]) -> Response:
    named = ", ".join(dict.fromkeys(item["pointer"] for item in errors))
    return problem(request, 422, f"The request is not valid: see {named}.", errors=errors)


def _field_error(error: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with one field: where it is, and what would be right."""
    place, *path = error["loc"] or ("body",)
    if error["type"] == "json_invalid":
        # The rest of the location is an offset in the text, not a field.
        reason = error.get("ctx", {}).get("error", "")
        return {"in": "body", "pointer": "#", "detail": f"The body is not valid JSON: {reason}"}
    return {"in": str(place), "pointer": pointer(path), "detail": _plain(str(error["msg"]))}


def _plain(reason: str) -> str:
    # Pydantic puts the class of a validator's exception before what it says.
    return reason.removeprefix("Value error, ")


def pointer(path: Iterable[str | int]) -> str:
    """Return a location as the URI fragment of a JSON pointer (RFC 6901, section 6).

    Letters beyond ASCII stay as they are (RFC 3987, section 2.2), so that people can read them.
    Of a place whose name is very long, it is the nearest one around it that can be named.
    """
    named = "#"
    for step in path:
        escaped = str(step).replace("~", "~0").replace("/", "~1")
        longer = f"{named}/{_NOT_IN_FRAGMENT.sub(_percent_encoded, escaped)}"
        if len(longer) > _LONGEST_POINTER:
            break
        named = longer
    return named


def _percent_encoded(found: re.Match[str]) -> str:
    return quote(found[0], safe="", errors="surrogatepass")


def _http(request: Request, error: Exception) -> Response:
    """Map what Starlette and FastAPI raise themselves: no such route, wrong method, bad body."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    detail = str(error.detail)
    if error.status_code == 405:
        # Starlette names the methods of the first route with this path only.
        headers["Allow"] = ", ".join(sorted(_methods(request)))
        detail = f"This path answers {headers['Allow']} only."
    elif error.status_code == 404:
        detail = "There is nothing at this path."
    elif error.status_code == 400:
        # FastAPI says only that there was an error.
        detail = (
            "The body cannot be read: it is not UTF-8, nested too deeply, or has a huge number."
        )
    return problem(request, error.status_code, detail, headers=headers)


def _methods(request: Request) -> set[str]:
    methods: set[str] = set()
    # A mounted application moves the root to where it is mounted; the routes know the first one.
    scope = {**request.scope, "root_path": request.scope.get("app_root_path", "")}
    # `app.routes` holds included routers whole; this looks into them.
    for route in iter_route_contexts(request.app.routes):
        if route.matches(scope)[0] is not Match.NONE:
            methods |= route.methods or _METHODS_OF_FILES
    return methods | {"HEAD"} if "GET" in methods else methods


def _bug(request: Request, error: Exception) -> Response:
    """Answer for a bug of ours. Starlette logs the exception; the client learns nothing of it."""
    return problem(request, 500, "Something went wrong inside the service; it has been logged.")
