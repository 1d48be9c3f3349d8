"""What tasks do: the registry, and one module per built-in handler. Users add theirs here.

from app.handlers import PermanentError, TaskContext, task_type
"""

from app.domain.retry import Backoff
from app.handlers.context import TaskContext
from app.handlers.errors import AttemptStopped, PermanentError, RetryLater
from app.handlers.registry import task_type

__all__ = [
    "AttemptStopped",
    "Backoff",
    "PermanentError",
    "RetryLater",
    "TaskContext",
    "task_type",
]
