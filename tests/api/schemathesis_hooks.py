"""What a valid body is beyond what JSON Schema has words for, so that Schemathesis keeps to it.

Only values that the schema allows are put right here; wrong ones stay as wrong as they are.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis
from hypothesis import strategies as st

# A task may wait for a year at most; every time before that means now.
_LATEST = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=360)
_OFFSETS = st.sampled_from(["Z", "z", "+00:00", "-00:00", "+14:00", "-12:00", "+05:45", "+23:59"])
_TIMES = st.tuples(st.datetimes(max_value=_LATEST), _OFFSETS)

schemathesis.openapi.format("date-time", _TIMES.map(lambda pair: pair[0].isoformat() + pair[1]))


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Put right what makes a payload of http_request invalid although its schema allows it."""
    if isinstance(body, dict) and body.get("type") == "http_request":
        payload = body.get("payload")
        if isinstance(payload, dict):
            body = {**body, "payload": _storable(payload)}
            success = payload.get("success")
            if isinstance(success, list):
                body["payload"]["success"] = [_in_order(item) for item in success]
    return body


def _storable(value: Any) -> Any:
    """Return a value without the NUL character, which no payload may hold anywhere."""
    match value:
        case str():
            return value.replace("\0", "0")
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case list():
            return [_storable(item) for item in value]
    return value


def _in_order(item: Any) -> Any:
    """Return a range of status codes such as 299-200 with its lower end first."""
    if not isinstance(item, str):
        return item
    return "-".join(sorted(item.split("-"))) if len(item) == 7 else item
