"""The task types: each a name, a payload model, a handler, and what holds for it unless told.

Owns registration and look-up. What is registered at import stays for the process's life.
"""

import asyncio
import importlib
import inspect
import logging
import math
import pkgutil
import re
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel

from app.domain.priority import Priority
from app.domain.retry import LONGEST_PAUSE_SECONDS, MOST_ATTEMPTS, Backoff
from app.handlers.concealment import all_concealed, as_it_is, concealing
from app.handlers.context import TaskContext
from app.handlers.errors import AttemptStopped, PermanentError
from app.handlers.modules import import_or_exit
from app.handlers.payloads import (
    Payload,
    PayloadError,
    payload_model,
    validated,
    validated_from_client,
)
from app.settings import get_settings

__all__ = [
    "Handler",
    "Payload",
    "PayloadError",
    "TaskType",
    "all_types",
    "get",
    "load",
    "names",
    "shown",
    "task_type",
]

Handler = Callable[[Any, TaskContext], Any]
T = TypeVar("T")

# Types that make trouble on purpose; TROUBLE_TYPES=false leaves them out.
_TROUBLE = "trouble"
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,99}")
# By how much a pause may grow at most.
_LARGEST_FACTOR = 100

log = logging.getLogger(__name__)


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

    @property
    def conceals(self) -> bool:
        """Whether anything of a payload may have to be concealed."""
        return self.conceal is not as_it_is

    @property
    def is_checked_quickly(self) -> bool:
        """Whether no validator of somebody else's code looks at a payload."""
        is_ours = getattr(self.handler, "__module__", "").startswith("app.handlers.")
        model = self.payload_model
        return is_ours or not (model.model_fields or model.__pydantic_decorators__.model_validators)

    def validated(self, payload: Payload) -> BaseModel:
        """Return the payload as the handler gets it.

        Raises:
            PayloadError: it does not fit the type's model.
        """
        return validated_from_client(self.payload_model, payload)

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
        return _awaited(returned) if inspect.iscoroutine(returned) else returned


def _awaited(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop: nothing of one task reaches the next.

    At its end, or when the attempt is stopped, whatever it has left behind is cancelled.
    """
    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_exception_handler(_report)
            return runner.run(coroutine)
    finally:
        # Stopped before it began, it would complain that nobody awaited it.
        if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            coroutine.close()


def _report(loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
    """Log what went wrong beside the handler; that a part of it was stopped is no news."""
    if not isinstance(details.get("exception"), AttemptStopped):
        loop.default_exception_handler(details)


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
    _check(name, max_attempts, backoff, timeout_seconds)

    def register(handler: F) -> F:
        if name in _types:
            other = _types[name].handler.__module__
            raise ValueError(f"the task type {name!r} is registered twice, first in {other}")
        model = payload_model(handler, sys._getframe(1).f_locals)
        _types[name] = TaskType(
            name,
            handler,
            model,
            max_attempts,
            backoff or Backoff(),
            timeout_seconds,
            Priority(priority),
            _description(handler),
            _example(name, model, example),
            concealing(model, conceal),
        )
        return handler

    return register


def _check(
    name: str, max_attempts: int, backoff: Backoff | None, timeout_seconds: float | None
) -> None:
    """Raise what `task_type` says if one of these does not fit."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"the task type {name!r} must begin with a letter a-z and go on with a-z 0-9 _ . -"
        )
    if type(max_attempts) is not int or not 1 <= max_attempts <= MOST_ATTEMPTS:
        raise ValueError(f"max_attempts of {name!r} must be from 1 to {MOST_ATTEMPTS}")
    if timeout_seconds is not None and not (
        _is_within(timeout_seconds, 0, math.inf) and timeout_seconds
    ):
        raise ValueError(f"timeout_seconds of {name!r} must be a number above 0")
    if backoff is None:
        return
    if not isinstance(backoff, Backoff):
        raise TypeError(f"backoff of {name!r} must be a Backoff, as app.handlers has it")
    for pause in (backoff.initial_seconds, backoff.max_seconds):
        if not _is_within(pause, 0, LONGEST_PAUSE_SECONDS):
            longest = f"{LONGEST_PAUSE_SECONDS:g}"
            raise ValueError(f"the pauses in backoff of {name!r} must be from 0 to {longest} s")
    if not _is_within(backoff.factor, 1, _LARGEST_FACTOR):
        raise ValueError(f"factor in backoff of {name!r} must be from 1 to {_LARGEST_FACTOR}")


def _is_within(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and least <= value <= most


def _example(name: str, model: type[BaseModel], example: Payload | None) -> Payload:
    """Return the example, which must be one."""
    if example is None:
        return {}
    try:
        validated(model, example)
    except PayloadError as error:
        raise ValueError(f"the example of {name!r} does not fit: {error}") from None
    return example


def _description(handler: Handler) -> str:
    # A functools.partial has the docstring of its class.
    paragraph = (inspect.getdoc(getattr(handler, "func", handler)) or "").partition("\n\n")[0]
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
    if known is None:
        return all_concealed(payload)
    try:
        return known.conceal(payload)
    except Exception:
        # A function of the type's author, which must not keep any list of tasks from its reader.
        log.exception("the task type %s could not conceal a payload", name)
        return all_concealed(payload)


@lru_cache(maxsize=1)
def load() -> None:
    """Import every module of app.handlers and of TASK_MODULES, which registers their task types.

    One that cannot be imported ends the program with one line that says which and why.
    """
    settings = get_settings()
    package = importlib.import_module("app.handlers")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != _TROUBLE:
            import_or_exit(f"app.handlers.{module.name}")
    if settings.trouble_types:
        trouble = import_or_exit(f"app.handlers.{_TROUBLE}")
        for module in pkgutil.iter_modules(trouble.__path__):
            import_or_exit(f"app.handlers.{_TROUBLE}.{module.name}")
    for name in filter(None, map(str.strip, settings.task_modules.split(","))):
        before = len(_types)
        import_or_exit(name)
        if len(_types) == before and not _has_types(name):
            log.warning("The task module %s registers no task type.", name)


def _has_types(module: str) -> bool:
    """Return whether a task type stands in a module, or in one inside it, imported earlier."""
    places = (getattr(each.handler, "__module__", "") for each in _types.values())
    return any(place == module or place.startswith(f"{module}.") for place in places)
