"""Status codes and ranges of them, as clients write them down."""

import re
from typing import Any

from app.handlers.http_request.faults import refuse

_MOST_RANGES = 100
_CODE = re.compile("[1-9][0-9]{2}")
_RANGE = re.compile("([1-9][0-9]{2})-([1-9][0-9]{2})")
_CLASS = re.compile("([1-9])xx", re.IGNORECASE)


def ranges(value: Any) -> Any:
    """Return status codes and ranges of them as pairs of a first and a last one."""
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_RANGES:
        raise ValueError(f"must be a list of 1 to {_MOST_RANGES} status codes or ranges")
    found = [_range(item) for item in value]
    refuse(
        ((index,) for index, item in enumerate(found) if item is None),
        'must be a status code, or a range such as "200-299" or "2xx"',
    )
    return found


def _range(item: Any) -> tuple[int, int] | None:
    if isinstance(item, float) and item.is_integer():
        # To JSON, 200.0 is an integer (JSON Schema, "Validation", section 6.1.1).
        item = int(item)
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


SCHEMA = {
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
