"""What a handler may return: any JSON value that PostgreSQL can store."""

import json
from typing import Any

from app.domain.stored_json import TooLargeError, encoded, stored_size
from app.domain.text import storable


def storable_result(value: Any, most_bytes: int) -> Any:
    """Return the value as plain JSON types, its texts storable, if that is at most so many bytes.

    Raises:
        ValueError: it is larger, or not JSON: another type, a NaN, a cycle, too deeply nested.
    """
    try:
        plain = json.loads(encoded(value, most_bytes))
        if stored_size(plain) > most_bytes:
            raise TooLargeError
    except TooLargeError:
        raise ValueError(
            f"The handler's result is larger than the {most_bytes} bytes of JSON that are allowed."
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The handler's result is not JSON: {error}") from error
    return _clean(plain)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): _clean(item) for key, item in value.items()}
    return value
