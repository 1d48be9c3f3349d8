"""What a client may ask for. No message repeats a value, since values may be secrets."""

import json
import re
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from app.handlers.http_request import statuses, urls
from app.handlers.http_request.faults import refuse
from app.settings import get_settings

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]

# RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110, section 5.5; whitespace at the ends is not part of a value.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What the connection needs, and what we say ourselves.
_OURS = re.compile(
    "connection|content-length|expect|host|idempotency-key|keep-alive|proxy-.*|task-attempt|task-id"
    "|te|trailer|transfer-encoding|upgrade|webhook-id|webhook-signature|webhook-timestamp",
    re.IGNORECASE,
)


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


_ONE_BODY: dict[str, JsonValue] = {
    "anyOf": [{"properties": {"json": False}}, {"properties": {"body": {"type": "null"}}}]
}


class HttpRequest(BaseModel):
    """A request to send, and which answers to it are a success."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_ONE_BODY)

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
        json_schema_extra={
            "propertyNames": {"pattern": f"^{_TOKEN.pattern}$"},
            "additionalProperties": {"type": "string", "pattern": r"^[\t\u0020-~\u0080-\u00ff]*$"},
        },
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
        list[tuple[int, int]], BeforeValidator(statuses.ranges), WithJsonSchema(statuses.SCHEMA)
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
        # Before all else, whose cost grows with it.
        size = sum(len(name) + len(value) for name, value in headers.items())
        most = get_settings().http_request_max_header_bytes
        if size > most:
            raise ValueError(f"has {size} bytes; {most} are allowed")
        refuse(((name,) for name in headers if not _TOKEN.fullmatch(name)), "is no header name")
        refuse(
            ((name,) for name in headers if _OURS.fullmatch(name)),
            "is set by the service or by the connection",
        )
        refuse(
            ((name,) for name, value in headers.items() if not _VALUE.fullmatch(value)),
            "must have a value of one line in Latin-1, without control characters",
        )
        count = Counter(name.lower() for name in headers)
        refuse(((name,) for name in headers if count[name.lower()] > 1), "is given twice")
        return {name: value.strip(" \t") for name, value in headers.items()}

    @model_validator(mode="after")
    def _have_one_body(self) -> "HttpRequest":
        if self.has_json and self.body is not None:
            refuse([("body",)], "must not be given together with json")
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
