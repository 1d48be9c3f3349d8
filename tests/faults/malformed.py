"""Messages that nobody should send: no message at all, broken ones, and ones that name no task."""

import base64
import json
from collections.abc import Callable
from typing import Any

# Not even an object, or one without what kombu needs.
_NO_MESSAGES: dict[str, str | bytes] = {
    "not JSON": "not json",
    "nothing": "",
    "no text": b"\xff\xfe\x00",
    "an array": "[]",
    "a number": "7",
    "null": "null",
    "a string": '"text"',
    "an empty object": "{}",
    "an object with a wrong body": '{"body": 1}',
    "deeply nested": "[" * 100_000,
}

Message = dict[str, Any]


def _without(*path: str) -> Callable[[Message], None]:
    def change(message: Message) -> None:
        part = message
        for step in path[:-1]:
            part = part[step]
        del part[path[-1]]

    return change


def _with(value: object, *path: str) -> Callable[[Message], None]:
    def change(message: Message) -> None:
        part = message
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value

    return change


def _saying(args: object, kwargs: object = {}) -> Callable[[Message], None]:
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return _with(_encoded(json.dumps([args, kwargs, embed])), "body")


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# What is changed in a message that is as it should be.
_BROKEN: dict[str, Callable[[Message], None]] = {
    "no properties": _without("properties"),
    "properties that are an array": _with([], "properties"),
    "no delivery tag": _without("properties", "delivery_tag"),
    "a delivery tag that is an array": _with([1], "properties", "delivery_tag"),
    "no delivery info": _without("properties", "delivery_info"),
    "delivery info without a queue": _with({}, "properties", "delivery_info"),
    "a queue that is none of ours": _with("nowhere", "properties", "delivery_info", "routing_key"),
    "an unknown body encoding": _with("rot13", "properties", "body_encoding"),
    "no headers": _without("headers"),
    "headers that are null": _with(None, "headers"),
    "headers that are an array": _with([], "headers"),
    "no task name": _without("headers", "task"),
    "an unknown task name": _with("somebody.elses", "headers", "task"),
    "a task name that is a number": _with(7, "headers", "task"),
    "a task name that is an array": _with(["x"], "headers", "task"),
    "no id": _without("headers", "id"),
    "an id that is an array": _with([1], "headers", "id"),
    "a wrong eta": _with("soon", "headers", "eta"),
    "a wrong expiry": _with("never", "headers", "expires"),
    "wrong time limits": _with("long", "headers", "timelimit"),
    "a compression that it has not": _with("gzip", "headers", "compression"),
    "an unknown compression": _with("rle", "headers", "compression"),
    "pickle": _with("application/x-python-serialize", "content-type"),
    "an unknown content type": _with("text/teapot", "content-type"),
    "no content type": _without("content-type"),
    "no body": _without("body"),
    "a body that is null": _with(None, "body"),
    "a body that is not base64": _with("*", "body"),
    "a body that is no JSON": _with(_encoded("no"), "body"),
    "a body that is an object": _with(_encoded("{}"), "body"),
    "a body of one part": _with(_encoded("[[1]]"), "body"),
    "a huge body": _saying(["x" * 5_000_000]),
    "arguments that are a number": _saying(1),
    "keywords that are an array": _saying([1], []),
    "embedded work that is text": _with(_encoded('[[0], {}, "x"]'), "body"),
    "no id of a task": _saying([]),
    "text for an id": _saying(["x"]),
    "a negative id": _saying([-1]),
    "a huge id": _saying([2**70]),
    "two ids": _saying([1, 2]),
    "an object for an id": _saying([{"id": 1}]),
    "true for an id": _saying([True]),
    "null for an id": _saying([None]),
    "a fraction for an id": _saying([1.5]),
    "keywords beside an id": _saying([1], {"force": True}),
}


def malformed(good: bytes) -> dict[str, str | bytes]:
    """Return messages by what is wrong with them, most of them made from a good one."""
    found = dict(_NO_MESSAGES)
    for name, change in _BROKEN.items():
        message = json.loads(good)
        change(message)
        found[name] = json.dumps(message)
    return found
