"""What tasks do: the registry, and one module per built-in handler. Users add theirs here.

from app.handlers import PermanentError, TaskContext, task_type
"""

from app.handlers.context import TaskContext
from app.handlers.errors import PermanentError
from app.handlers.registry import task_type

__all__ = ["PermanentError", "TaskContext", "task_type"]
