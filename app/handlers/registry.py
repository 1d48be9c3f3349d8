"""The task types: each a name, a payload model, a handler, and what holds for it unless told.

Owns registration and look-up. What is registered at import stays for the process's life.
"""

import asyncio
import importlib
import inspect
import json
import pkgutil
import re
import sys
import traceback
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.domain.priority import Priority
from app.domain.retry import MOST_ATTEMPTS, Backoff
from app.domain.text import one_line
from app.handlers.concealment import CONCEALED, concealing
from app.handlers.context import TaskContext
from app.handlers.errors import PermanentError
from app.settings import get_settings

Handler = Callable[[Any, TaskContext], Any]
Payload = dict[str, Any]

# Types that make trouble on purpose; TROUBLE_TYPES=false leaves them out.
_TROUBLE = "trouble"
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,99}")
_REASON_LIMIT = 500


class PayloadError(ValueError):
    """A payload does not fit its type; `faults` has each place, as keys and indexes, and reason."""

    def __init__(self, faults: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
        places = (f"{'.'.join(map(str, path)) or 'payload'}: {reason}" for path, reason in faults)
        super().__init__(f"The payload is not valid: {'; '.join(places)}")
        self.faults = faults


@dataclass(frozen=True, slots=True)
class TaskType:
    """A kind of work that a task can ask for, with the defaults of such a task.

    `timeout_seconds` is None where only the service's own limit holds. `conceal` returns a payload
    as it may be shown.
    """

    name: str
    handler: Handler
    payload_model: type[BaseModel]
    max_attempts: int
    backoff: Backoff
    timeout_seconds: float | None
    priority: Priority
    description: str
    example: Payload
    conceal: Callable[[Payload], Payload]

    def validated(self, payload: Payload) -> BaseModel:
        """Return the payload as the handler gets it.

        Raises:
            PayloadError: it does not fit the type's model.
        """
        try:
            return self.payload_model.model_validate_json(json.dumps(payload))
        except ValidationError as error:
            # Not the error itself, whose text has the values: they may be secrets.
            faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise PayloadError([(item["loc"], item["msg"]) for item in faults])

    def run(self, payload: Payload, context: TaskContext) -> Any:
        """Do the work of one attempt and return the task's result, any JSON value.

        Raises:
            PermanentError: the payload does not fit; whatever else the handler raises.
        """
        try:
            valid = self.validated(payload)
        except PayloadError as error:
            raise PermanentError(str(error)) from None
        returned = self.handler(valid, context)
        if not inspect.iscoroutine(returned):
            return returned
        # A new loop each time: nothing of one task reaches the next.
        return asyncio.run(returned)


_types: dict[str, TaskType] = {}


F = TypeVar("F", bound=Handler)


def task_type(
    name: str,
    *,
    max_attempts: int = 1,
    backoff: Backoff | None = None,
    timeout_seconds: float | None = None,
    priority: Priority | str = Priority.MEDIUM,
    example: Payload | None = None,
    conceal: Callable[[Payload], Payload] | None = None,
) -> Callable[[F], F]:
    """Register a function `(payload, context) -> result`, `def` or `async def`, as a task type.

    The payload's annotation, a pydantic model, says what a payload looks like. Unless a task says
    otherwise, it is tried up to `max_attempts` times (1 to 100) with the pauses of `backoff`
    between, each attempt for at most `timeout_seconds`, and waits with `priority`. The first
    paragraph of the docstring is the type's description, `example` a payload for the API's
    documentation. Fields of type SecretStr are stored but never shown; `conceal` returns a payload
    with whatever else is not to be shown replaced.

    Raises:
        ValueError: the name is taken or not in lower case, or a number is out of range.
        TypeError: the first parameter is not annotated with a pydantic model.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the task type {name!r} must begin with a letter a-z and go on with a-z 0-9 _ . -"
        )
    if not 1 <= max_attempts <= MOST_ATTEMPTS:
        raise ValueError(f"max_attempts of {name!r} must be from 1 to {MOST_ATTEMPTS}")
    if timeout_seconds is not None and not timeout_seconds > 0:
        raise ValueError(f"timeout_seconds of {name!r} must be above 0")

    def register(handler: F) -> F:
        if name in _types:
            raise ValueError(f"the task type {name!r} is registered twice")
        model = _payload_model(handler)
        _types[name] = TaskType(
            name,
            handler,
            model,
            max_attempts,
            backoff or Backoff(),
            timeout_seconds,
            Priority(priority),
            _description(handler),
            example or {},
            conceal or concealing(model),
        )
        return handler

    return register


def _payload_model(handler: Handler) -> type[BaseModel]:
    hints = typing.get_type_hints(handler)
    parameters = [parameter for parameter in hints if parameter != "return"]
    model = hints[parameters[0]] if parameters else None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(
            f"the first parameter of {handler!r} must be annotated with a pydantic model"
        )
    return model


def _description(handler: Handler) -> str:
    paragraph = (inspect.getdoc(handler) or "").partition("\n\n")[0]
    return " ".join(paragraph.split())


def get(name: str) -> TaskType | None:
    """Return the task type of this name, or None when no handler was registered for it."""
    load()
    return _types.get(name)


def all_types() -> list[TaskType]:
    """Return all task types, by name."""
    load()
    return [_types[name] for name in sorted(_types)]


def names() -> tuple[str, ...]:
    """Return the names of all task types, in order."""
    load()
    return tuple(sorted(_types))


def shown(name: str, payload: Payload) -> Payload:
    """Return a payload as it may be shown. Nobody knows what is secret in an unknown type's."""
    known = get(name)
    return known.conceal(payload) if known else dict.fromkeys(payload, CONCEALED)


@lru_cache(maxsize=1)
def load() -> None:
    """Import every module of app.handlers and of TASK_MODULES, which registers their task types.

    One that cannot be imported ends the program with one line that says which and why.
    """
    settings = get_settings()
    package = importlib.import_module("app.handlers")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != _TROUBLE:
            _import(f"app.handlers.{module.name}")
    if settings.trouble_types:
        trouble = _import(f"app.handlers.{_TROUBLE}")
        for module in pkgutil.iter_modules(trouble.__path__):
            _import(f"app.handlers.{_TROUBLE}.{module.name}")
    for name in settings.task_modules.split(","):
        if name.strip():
            _import(name.strip())


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        reason = one_line(f"{type(error).__name__}: {error}", _REASON_LIMIT)
        sys.exit(f"The task module {name} cannot be imported: {reason}{_line_of(name, error)}")


def _line_of(name: str, error: BaseException) -> str:
    """Return the last place in the traceback that is in the module's own file, if it is in any."""
    ours = name.replace(".", "/")
    places = traceback.extract_tb(error.__traceback__)
    found = [place for place in places if place.filename.rpartition(".")[0].endswith(ours)]
    return f" ({found[-1].filename}, line {found[-1].lineno})" if found else ""
