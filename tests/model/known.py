"""Which task types a worker of the model knows: the one there is, or, with an older one, others."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from app.handlers import simulated_work

_OURS = (simulated_work.NAME,)
_OLDER = ("another_type",)
# Each actor is a thread, and so has a context of its own.
_known: ContextVar[tuple[str, ...]] = ContextVar("known", default=_OURS)


def names() -> tuple[str, ...]:
    """Return the names of the types, as the registry does."""
    return _known.get()


@contextmanager
def by_an_older_worker() -> Iterator[None]:
    """Let the block be run by a worker that does not know the model's type yet."""
    token = _known.set(_OLDER)
    try:
        yield
    finally:
        _known.reset(token)
