"""What of a payload is never shown: the fields that its model declares to be secret."""

import dataclasses
import json
import typing
import warnings
from collections.abc import Callable
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

CONCEALED = "**********"

Payload = dict[str, Any]
Conceal = Callable[[Payload], Payload]


def all_concealed(payload: Payload) -> Payload:
    """Return a payload of which nothing but the names is shown."""
    return dict.fromkeys(payload, CONCEALED)


def concealing(model: type[BaseModel], more: Conceal | None = None) -> Conceal:
    """Return a function that replaces a payload's secrets, as its model declares them.

    Each top-level field that is, or holds at any depth, a SecretStr, SecretBytes or Secret is
    replaced whole, and so is one that JSON Schema calls `writeOnly` ("Validation", section 9.4).
    Where there are any, what the model does not know is replaced as well: it may be a secret whose
    name is misspelt. `more` replaces whatever else is not to be shown, and is asked first.
    """
    schema = _schema(model)
    secret: set[str] = set()
    known: set[str] = set()
    for name, field in model.model_fields.items():
        keys = _keys(name, field)
        known |= keys
        described = [schema.get("properties", {}).get(key) for key in keys]
        if _is_write_only(described, schema) or _holds_secret(field.annotation, set()):
            secret |= keys
    if not secret and not _is_write_only(schema, schema):
        return more or as_it_is
    shown = known - secret

    def conceal(payload: Payload) -> Payload:
        return {
            name: value if name in shown or value is None else CONCEALED
            for name, value in (more(payload) if more else payload).items()
        }

    return conceal


def as_it_is(payload: Payload) -> Payload:
    """Return a payload that holds no secrets."""
    return payload


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    with warnings.catch_warnings():
        # A secret default is left out of the schema, as it should be.
        warnings.simplefilter("ignore")
        schema = model.model_json_schema()
    # A model that refers to itself is among the definitions.
    definition = schema.get("$ref", "").rpartition("/")[2]
    return {"$defs": schema.get("$defs", {}), **schema.get("$defs", {}).get(definition, schema)}


def _keys(name: str, field: FieldInfo) -> set[str]:
    """Return every name under which a payload may have a field."""
    alias = field.validation_alias or field.alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    paths = [each.path[0] if isinstance(each, AliasPath) else each for each in choices]
    return {name, *(step for step in paths if isinstance(step, str))}


def _is_write_only(described: Any, schema: dict[str, Any]) -> bool:
    """Return whether a part of a schema says so, itself or in a definition that it refers to."""
    definitions = schema["$defs"]
    seen: set[str] = set()
    waiting = [described]
    while waiting:
        text = json.dumps(waiting.pop(), default=str)
        if '"writeOnly": true' in text:
            return True
        # A model may refer to itself.
        named = {name for name in definitions if f'"#/$defs/{name}"' in text} - seen
        seen |= named
        waiting += [definitions[name] for name in named]
    return False


def _holds_secret(kind: Any, seen: set[int]) -> bool:
    """Return whether a type is or contains a secret; not every one says so in its JSON Schema."""
    if id(kind) in seen:
        return False
    seen.add(id(kind))
    # What an alias made by `type` or by NewType stands for.
    named = (getattr(kind, name, None) for name in ("__value__", "__supertype__"))
    inner = [*typing.get_args(kind), *named]
    if isinstance(kind, type):
        if issubclass(kind, SecretStr | SecretBytes | Secret):
            return True
        inner += _fields(kind)
    origin = typing.get_origin(kind)
    return any(_holds_secret(each, seen) for each in [origin, *inner] if each is not None)


def _fields(kind: type) -> list[Any]:
    if issubclass(kind, BaseModel):
        return [field.annotation for field in kind.model_fields.values()]
    if dataclasses.is_dataclass(kind) or hasattr(kind, "__total__") or hasattr(kind, "_fields"):
        return list(typing.get_type_hints(kind).values())
    return []
