"""What a handler may return: any JSON value that PostgreSQL can store."""

import json
from typing import Any

from app.domain.text import storable


def storable_result(value: Any) -> Any:
    """Return the value as plain JSON types, its texts storable.

    Raises:
        ValueError: it is not JSON: another type, a NaN, a cycle, too deeply nested.
    """
    try:
        # allow_nan: RFC 8259, section 6, has neither NaN nor infinities.
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the handler's result is not JSON: {error}") from error
    return _clean(plain)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): _clean(item) for key, item in value.items()}
    return value
