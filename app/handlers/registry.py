"""The task types: each a name, a payload model, a handler and its retry policy.

Owns registration and look-up. What is registered at import stays for the process's life.
"""

import importlib
import pkgutil
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel

from app.domain.retry import Backoff
from app.handlers.context import TaskContext

Handler = Callable[[Any, TaskContext], Any]


@dataclass(frozen=True, slots=True)
class TaskType:
    """A kind of work that a task can ask for."""

    name: str
    handler: Handler
    payload_model: type[BaseModel]
    max_attempts: int
    backoff: Backoff

    def run(self, payload: dict[str, Any], context: TaskContext) -> Any:
        """Do the work of one attempt and return the task's result, any JSON value."""
        return self.handler(self.payload_model.model_validate(payload), context)


_types: dict[str, TaskType] = {}


F = TypeVar("F", bound=Handler)


def task_type(
    name: str, *, max_attempts: int = 1, backoff: Backoff | None = None
) -> Callable[[F], F]:
    """Register a function `(payload, context) -> result` as the handler of a task type.

    The payload's annotation, a pydantic model, says what a payload looks like. A task of the type
    is tried up to `max_attempts` times, with the pauses of `backoff` between.

    Raises:
        ValueError: the name is taken.
        TypeError: the first parameter is not annotated with a pydantic model.
    """

    def register(handler: F) -> F:
        if name in _types:
            raise ValueError(f"the task type {name!r} is registered twice")
        _types[name] = TaskType(
            name, handler, _payload_model(handler), max_attempts, backoff or Backoff()
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


def get(name: str) -> TaskType | None:
    """Return the task type of this name, or None when no handler was registered for it."""
    load()
    return _types.get(name)


@lru_cache(maxsize=1)
def load() -> None:
    """Import every module of app.handlers, so that its task types are registered."""
    package = importlib.import_module("app.handlers")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"app.handlers.{module.name}")
