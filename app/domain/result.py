"""What a handler may return: any JSON value that PostgreSQL can store."""

import json
from typing import Any

from app.domain.text import storable


def storable_result(value: Any, most_bytes: int) -> Any:
    """Return the value as plain JSON types, its texts storable, if that is at most so many bytes.

    Raises:
        ValueError: it is larger, or not JSON: another type, a NaN, a cycle, too deeply nested.
    """
    try:
        # allow_nan: RFC 8259, section 6, has neither NaN nor infinities.
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        plain = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The handler's result is not JSON: {error}") from error
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > most_bytes:
        raise ValueError(f"The handler's result is {size} bytes of JSON; {most_bytes} are allowed.")
    return _clean(plain)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): _clean(item) for key, item in value.items()}
    return value
