"""What a client may ask for. No message repeats a value, since values may be secrets."""

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.handlers.http_request import urls
from app.settings import get_settings

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

_MOST_RANGES = 100
# RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110, section 5.5; whitespace at the ends is not part of a value.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_CODE = re.compile("[1-9][0-9]{2}")
_RANGE = re.compile("([1-9][0-9]{2})-([1-9][0-9]{2})")
_CLASS = re.compile("([1-9])xx", re.IGNORECASE)
# What the connection needs, and what we say ourselves.
_OURS = re.compile(
    "connection|content-length|expect|host|idempotency-key|keep-alive|proxy-.*|task-attempt|task-id"
    "|te|trailer|transfer-encoding|upgrade|webhook-id|webhook-signature|webhook-timestamp",
    re.IGNORECASE,
)


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _ranges(value: Any) -> Any:
    """Return status codes and ranges of them as pairs of a first and a last one."""
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_RANGES:
        raise ValueError(f"must be a list of 1 to {_MOST_RANGES} status codes or ranges")
    found = [_range(item) for item in value]
    _refuse((index,) for index, item in enumerate(found) if item is None)
    return found


def _refuse(
    places: Iterable[tuple[str | int, ...]],
    reason: str = 'must be a status code, or a range such as "200-299" or "2xx"',
) -> None:
    """Raise an error that names each of these places below the field."""
    faults = [
        InitErrorDetails(
            type=PydanticCustomError("unfit", "{why}", {"why": reason}), loc=place, input=None
        )
        for place in places
    ]
    if faults:
        raise ValidationError.from_exception_data("unfit", faults)


def _range(item: Any) -> tuple[int, int] | None:
    if isinstance(item, bool) or not isinstance(item, int | str):
        return None
    text = str(item)
    if _CODE.fullmatch(text):
        return int(text), int(text)
    if match := _RANGE.fullmatch(text):
        first, last = int(match[1]), int(match[2])
        return (first, last) if first <= last else None
    if match := _CLASS.fullmatch(text):
        return int(match[1]) * 100, int(match[1]) * 100 + 99
    return None


_RANGES_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "maxItems": _MOST_RANGES,
    "items": {
        "anyOf": [
            {"type": "integer", "minimum": 100, "maximum": 999},
            {"type": "string", "pattern": f"^({_CODE.pattern}|{_RANGE.pattern}|[1-9][xX]{{2}})$"},
        ]
    },
}


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class HttpRequest(BaseModel):
    """A request to send, and which answers to it are a success."""

    model_config = ConfigDict(extra="forbid")

    url: StrictStr = Field(
        min_length=1,
        max_length=urls.LONGEST_URL,
        description="Where to send it: http or https, without user name and password",
        json_schema_extra={"format": "uri", "pattern": "^[hH][tT][tT][pP][sS]?://"},
    )
    method: Annotated[Method, BeforeValidator(_upper)] | None = Field(
        None, description="How; if left out, POST with json or body, and GET without"
    )
    headers: dict[str, StrictStr] = Field(
        {},
        description="Headers to send. Values of those that are named like secrets, such as "
        "Authorization, are stored but never shown",
    )
    json_value: Any = Field(
        None,
        alias="json",
        description="Any JSON value, to be sent as such",
        # Not null: that would be sent.
        json_schema_extra=_without_default,
    )
    body: StrictStr | None = Field(
        None, description="Text to send in UTF-8, instead of json; set its Content-Type"
    )
    timeout_seconds: float = Field(
        30.0,
        strict=True,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="The longest that all of it may take, from the name's resolution to the "
        "answer's last byte, redirects included",
    )
    success: Annotated[
        list[tuple[int, int]], BeforeValidator(_ranges), WithJsonSchema(_RANGES_SCHEMA)
    ] = Field(
        ["2xx"],
        validate_default=True,
        description='Status codes that are a success, such as 404, "200-299" or "2xx"',
    )
    follow_redirects: StrictBool = Field(
        False, description="Whether to follow redirects, at most ten"
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        urls.checked(url)
        return url

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        _refuse(((name,) for name in headers if not _TOKEN.fullmatch(name)), "is no header name")
        _refuse(
            ((name,) for name in headers if _OURS.fullmatch(name)),
            "is set by the service or by the connection",
        )
        _refuse(
            ((name,) for name, value in headers.items() if not _VALUE.fullmatch(value)),
            "must have a value of one line in Latin-1, without control characters",
        )
        lower = [name.lower() for name in headers]
        twice = [name for name in headers if lower.count(name.lower()) > 1]
        _refuse(((name,) for name in twice), "is given twice")
        size = sum(len(name) + len(value) for name, value in headers.items())
        most = get_settings().http_request_max_header_bytes
        if size > most:
            raise ValueError(f"has {size} bytes; {most} are allowed")
        return {name: value.strip(" \t") for name, value in headers.items()}

    @model_validator(mode="after")
    def _have_one_body(self) -> "HttpRequest":
        if self.has_json and self.body is not None:
            _refuse([("body",)], "must not be given together with json")
        return self

    @property
    def has_json(self) -> bool:
        """Return whether a JSON value was given; null is one."""
        return "json_value" in self.model_fields_set

    @property
    def http_method(self) -> str:
        """Return the method that was given, or the one that is meant."""
        has_body = self.has_json or self.body is not None
        return self.method or ("POST" if has_body else "GET")

    def content(self) -> bytes | None:
        """Return what is to be sent; None for nothing."""
        if self.has_json:
            return json.dumps(
                self.json_value, ensure_ascii=False, separators=(",", ":"), allow_nan=False
            ).encode()
        return None if self.body is None else self.body.encode()

    def is_success(self, status: int) -> bool:
        """Return whether an answer with this status completes the task."""
        return any(first <= status <= last for first, last in self.success)
