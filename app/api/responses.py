"""The error answers of each route, as the OpenAPI document tells them."""

from typing import Any

from app.api.problems import MEDIA_TYPE
from app.api.schemas import HealthProblem, Problem, ValidationProblem

_MEANINGS: dict[int, tuple[str, type[Problem]]] = {
    400: ("The body cannot be read as JSON at all", Problem),
    403: ("Tasks that make trouble on purpose are switched off", Problem),
    404: ("There is no such task", Problem),
    408: ("The body stopped coming", Problem),
    409: ("The task's status does not allow it", Problem),
    413: ("The body is too large", Problem),
    415: ("The body is not application/json", Problem),
    422: ("A field is not valid; `errors` says which and why", ValidationProblem),
    500: ("A bug in the service", Problem),
    503: ("The database does not answer, or lacks its schema; try again later", Problem),
}
LINK: dict[str, Any] = {
    "Link": {
        "schema": {"type": "string"},
        "description": 'The next page, as <URL>; rel="next"; absent on the last page',
    }
}
CONDITIONAL: dict[str, Any] = {
    "ETag": {
        "schema": {"type": "string"},
        "description": "Send it back in If-None-Match, and get 304 while nothing has changed",
    }
}
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "Nothing has changed since the ETag sent in If-None-Match"}
}
_BODY = (400, 408, 413, 415, 422)


def problems(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route with these error statuses, and those of a `body`."""
    wanted = sorted({*statuses, *(_BODY if body else ()), 500})
    return {status: _response(*_MEANINGS[status]) for status in wanted}


def _response(description: str, model: type[Problem]) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": _reference(model)}}}


def _reference(model: type[Problem]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def health_problem() -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of the health route."""
    return {503: _response("A part of the service is away", HealthProblem), **problems()}


# Named by reference above, so that the document must be given them by hand.
PROBLEM_MODELS = (Problem, ValidationProblem, HealthProblem)
