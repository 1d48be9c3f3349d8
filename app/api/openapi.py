"""Finishes the OpenAPI document with what is known only once the task types are registered.

Owns the error bodies, which routes name by reference only, and what a task to create looks like
for each type. Bodies that it allows are accepted, but for what JSON Schema has no words for: that
a time is at most a year ahead, that a payload has not too many bytes, and validators of a type's
own.
"""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.api.responses import PROBLEM_MODELS
from app.handlers import registry, simulated_work
from app.handlers.payloads import PayloadError, validated_from_client
from app.handlers.registry import TaskType
from app.settings import get_settings

_REFERENCE = "#/components/schemas/"
_NOTHING = {"type": "null"}


def describe(app: FastAPI) -> None:
    """Make the application's OpenAPI document complete, once, when it is first asked for."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            _describe_problems(document["components"]["schemas"])
            _describe_creation(document, registry.all_types())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it.


def _describe_problems(schemas: dict[str, Any]) -> None:
    _, definitions = models_json_schema(
        [(model, "serialization") for model in PROBLEM_MODELS],
        ref_template=f"{_REFERENCE}{{model}}",
    )
    schemas.update(definitions["$defs"])
    # FastAPI's own description of a 422 is not what ours look like.
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)


def _describe_creation(document: dict[str, Any], types: list[TaskType]) -> None:
    """Say which types there are, what payload each takes, and give an example of each."""
    schemas = document["components"]["schemas"]
    task = schemas["TaskCreate"]
    fields = task["properties"]
    fields["type"] = {
        "anyOf": [{"type": "string", "enum": [each.name for each in types]}, _NOTHING],
        "default": simulated_work.NAME,
        **{name: fields["type"][name] for name in ("title", "description")},
    }
    fields["timeout_seconds"]["anyOf"][0]["maximum"] = get_settings().time_limit_seconds
    for each in types:
        schemas.update(_payload_schemas(each))
    # Not if and then, which Schemathesis and most generators of clients cannot read.
    task["allOf"] = [_one_time, {"oneOf": [_payload_of(each) for each in types]}]
    body = document["paths"]["/tasks/"]["post"]["requestBody"]["content"]["application/json"]
    # What people try first comes first.
    in_order = sorted(types, key=lambda each: each.name != simulated_work.NAME)
    body["examples"] = {each.name: _example(each) for each in in_order} | {"later": _LATER}


_LATER = {
    "summary": "at a later time",
    "description": "Any type may wait for its time: delay_seconds, or run_at with a zone.",
    "value": {"title": "Tomorrow's report", "delay_seconds": 86_400},
}
# At most one of run_at and delay_seconds.
_one_time = {
    "anyOf": [{"properties": {name: _NOTHING}} for name in ("run_at", "delay_seconds")],
}


def _payload_schemas(task_type: TaskType) -> dict[str, Any]:
    """Return the schema of a type's payload and those it refers to, under names of their own.

    Users' models may be called as the service's own are, or as those of another type.
    """
    schema = task_type.payload_model.model_json_schema(
        ref_template=f"{_REFERENCE}{{model}}.{task_type.name}"
    )
    inner = schema.pop("$defs", {})
    return {
        _payload_name(task_type): schema,
        **{f"{name}.{task_type.name}": each for name, each in inner.items()},
    }


def _payload_name(task_type: TaskType) -> str:
    return f"PayloadOf.{task_type.name}"


def _payload_of(task_type: TaskType) -> dict[str, Any]:
    """Return what a task of this type looks like, beyond what all tasks have in common."""
    payload: dict[str, Any] = {"$ref": f"{_REFERENCE}{_payload_name(task_type)}"}
    # The default is also the type of a task that names none.
    is_default = task_type.name == simulated_work.NAME
    required = [] if is_default else ["type"]
    if _may_be_empty(task_type):
        payload = {"anyOf": [payload, _NOTHING]}
    else:
        required.append("payload")
    return {
        "title": task_type.name,
        "properties": {
            "type": {"enum": [task_type.name, None] if is_default else [task_type.name]},
            "payload": payload,
        },
        **({"required": required} if required else {}),
    }


def _may_be_empty(task_type: TaskType) -> bool:
    try:
        validated_from_client(task_type.payload_model, {})
    except PayloadError:
        return False
    return True


def _example(task_type: TaskType) -> dict[str, Any]:
    title = task_type.name.replace("_", " ").capitalize()
    value: dict[str, Any] = {"title": title, "type": task_type.name}
    if task_type.example:
        value["payload"] = task_type.example
    return {"summary": task_type.name, "description": task_type.description, "value": value}
