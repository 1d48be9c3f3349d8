"""What of a payload is never shown: the fields that its model declares to be secret."""

import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

CONCEALED = "**********"


def concealing(model: type[BaseModel]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that replaces a payload's secrets, as its model declares them.

    Each top-level field that is, or holds at any depth, a SecretStr or SecretBytes is replaced
    whole: JSON Schema calls them `writeOnly` ("Validation", section 9.4).
    """
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    aliased = {
        name
        for name, field in schema.get("properties", {}).items()
        if _holds_secret(field, definitions, set())
    }
    # A model may take a field by its own name too.
    secret = aliased | {
        name for name, field in model.model_fields.items() if (field.alias or name) in aliased
    }

    def conceal(payload: dict[str, Any]) -> dict[str, Any]:
        return {
            name: CONCEALED if name in secret and value is not None else value
            for name, value in payload.items()
        }

    return conceal if secret else _as_it_is


def _as_it_is(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


def _holds_secret(schema: Any, definitions: dict[str, Any], seen: set[str]) -> bool:
    text = json.dumps(schema)
    if '"writeOnly": true' in text:
        return True
    # A model may refer to itself.
    named = {name for name in definitions if f'"#/$defs/{name}"' in text} - seen
    return any(_holds_secret(definitions[name], definitions, seen | named) for name in named)
