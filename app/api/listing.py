"""How a list is asked for and paged: several values in a parameter, and the link to the rest."""

from typing import Any

from fastapi import Request
from pydantic import BeforeValidator


def comma_separated() -> BeforeValidator:
    """Return a validator that also takes `a,b` where a parameter may be repeated."""

    def split(values: Any) -> Any:
        if not isinstance(values, list):
            return values
        return [part for value in values for part in str(value).split(",")]

    return BeforeValidator(split)


def next_page_link(request: Request, **place: int) -> str:
    """Return the Link header (RFC 8288) for the page of the same list that starts at a place."""
    url = request.url.remove_query_params(["skip", "before"]).include_query_params(**place)
    return f'<{url}>; rel="next"'
