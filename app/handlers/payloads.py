"""Payloads: which model a handler declares for its own, and whether what a client sends fits it."""

import inspect
import json
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

Payload = dict[str, Any]
Path = tuple[str | int, ...]

log = logging.getLogger(__name__)


class PayloadError(ValueError):
    """A payload does not fit its type; `faults` has each place, as keys and indexes, and reason."""

    def __init__(self, faults: Sequence[tuple[Path, str]]) -> None:
        places = (f"{'.'.join(map(str, path)) or 'payload'}: {reason}" for path, reason in faults)
        super().__init__(f"The payload is not valid: {'; '.join(places)}")
        self.faults = faults


def validated(model: type[BaseModel], payload: Payload) -> BaseModel:
    """Return the payload as a handler gets it.

    Raises:
        PayloadError: it does not fit the model. The reasons hold no values, which may be secrets,
            beyond what validators of the model itself say.
        Exception: a validator of the model raised it.
    """
    try:
        return model.model_validate_json(json.dumps(payload))
    except ValidationError as error:
        # Not the error itself, whose text has the values.
        found = error.errors(include_url=False, include_input=False, include_context=False)
    raise PayloadError(
        [(_place(item["loc"], payload, item["type"]), item["msg"]) for item in found]
    )


def validated_from_client(model: type[BaseModel], payload: Payload) -> BaseModel:
    """Return the payload as a handler gets it, and let no validator's own error through.

    Raises:
        PayloadError: it does not fit the model.
    """
    try:
        return validated(model, payload)
    except PayloadError:
        raise
    except Exception as error:
        # Not its text, which may repeat a value.
        place = traceback.extract_tb(error.__traceback__)[-1]
        log.error(
            "the payload model %s raised %s (%s, line %s)",
            model.__name__,
            type(error).__name__,
            place.filename,
            place.lineno,
        )
        raise PayloadError([((), f"could not be checked: {type(error).__name__}")]) from None


def _place(location: Path, payload: Any, kind: str) -> Path:
    """Return where in a payload a fault is: pydantic also names the members of unions it tried."""
    place: list[str | int] = []
    value = payload
    for number, step in enumerate(location, start=1):
        match value:
            case dict() if step in value:
                value = value[step]
            case list() if isinstance(step, int) and step < len(value):
                value = value[step]
            case dict() if number == len(location) and kind == "missing":
                pass  # It is missing there.
            case _:
                continue
        place.append(step)
    return tuple(place)


def payload_model(handler: Callable[..., Any], names: dict[str, Any]) -> type[BaseModel]:
    """Return the model that a handler's first parameter is annotated with.

    `names` are the local ones where it is defined, for an annotation that is text, as every one is
    after `from __future__ import annotations`. Other annotations are not looked at: what they name
    may be there for type checkers only.

    Raises:
        TypeError: there is none, or the handler does not take a payload and a context.
    """
    called = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    try:
        signature = inspect.signature(handler)
        first, _ = signature.bind(None, None).arguments.items()
    except (TypeError, ValueError):
        raise TypeError(f"{called} must take two arguments, the payload and the context") from None
    model = signature.parameters[first[0]].annotation
    if isinstance(model, str):
        model = _evaluated(model, handler, names, called)
    if get_origin(model) is Annotated:
        model = get_args(model)[0]
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(
            f"the first parameter of {called} must be annotated with a pydantic model, "
            "a subclass of BaseModel"
        )
    return model


def _evaluated(text: str, handler: Callable[..., Any], names: dict[str, Any], called: str) -> Any:
    function = inspect.unwrap(handler)
    if not inspect.isroutine(function):
        # A callable object, or a functools.partial.
        function = getattr(function, "func", type(function).__call__)
    there = getattr(function, "__globals__", None) or vars(sys.modules[handler.__module__])
    try:
        return eval(text, there, names)  # noqa: S307 - it is the annotation's own code
    except Exception as error:
        raise TypeError(
            f"the annotation {text!r} of the first parameter of {called} means nothing there: "
            f"{error}"
        ) from None
