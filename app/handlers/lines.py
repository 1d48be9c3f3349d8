"""What a handler logs: to the service's own log, and in part for the task's history."""

import logging
import sys
import threading
from datetime import UTC, datetime
from typing import Any

from app.domain.history import LogLine
from app.domain.text import one_line, shortened

# What is stored in one go, in characters: little enough for any heartbeat.
_PIECE = 500_000
_LEVEL_LIMIT = 20
_FURTHER = "Further lines of this attempt are not kept."


class LogLines:
    """The lines of one attempt that are yet to be stored. Handlers may log from several threads."""

    def __init__(self, attempt: int, most_lines: int, most_characters: int) -> None:
        self._attempt = attempt
        self._most_lines = most_lines
        self.most_characters = most_characters
        self._count = 0
        self._lines: list[LogLine] = []
        self._lock = threading.Lock()

    def add(self, level: str, message: str) -> None:
        """Keep a line, unless there are too many; the last one that is kept then says so."""
        with self._lock:
            if self._count >= self._most_lines:
                return
            self._count += 1
            if self._count == self._most_lines > 1:
                level, message = "WARNING", _FURTHER
            text = shortened(message, self.most_characters)
            now = datetime.now(UTC)
            shown = one_line(str(level), _LEVEL_LIMIT)
            self._lines.append(LogLine(self._attempt, self._count, now, shown, text))

    def waiting(self) -> tuple[LogLine, ...]:
        """Return the first piece of the lines that are not known to be stored."""
        with self._lock:
            return tuple(self._lines[: self._piece()])

    def has_more_than_a_piece(self) -> bool:
        """Return whether more lines wait than are to be stored in one go."""
        with self._lock:
            return self._piece() < len(self._lines)

    def _piece(self) -> int:
        """Return how many lines the first piece has."""
        size = 0
        for count, line in enumerate(self._lines):
            size += len(line.message) + _LEVEL_LIMIT
            if size > _PIECE and count:
                return count
        return len(self._lines)

    def stored(self, lines: tuple[LogLine, ...]) -> None:
        """Forget lines that are stored."""
        if not lines:
            return
        last = lines[-1].number
        with self._lock:
            self._lines = [line for line in self._lines if line.number > last]


class TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines carry the task's id and attempt.

    Every line of level INFO and above is kept with the task, whatever LOG_LEVEL says; a DEBUG line
    where LOG_LEVEL lets it through. It never raises because of what it is to say.
    """

    def __init__(self, task_id: int, attempt: int, lines: LogLines) -> None:
        super().__init__(logging.getLogger("app.task"))
        self._prefix = f"task {task_id}: attempt {attempt}:"
        self._lines = lines

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Tell whether a line of this level goes anywhere."""
        return level >= logging.INFO or self.logger.isEnabledFor(level)

    def getEffectiveLevel(self) -> int:  # noqa: N802 - logging's name
        """Return the least level that goes anywhere."""
        return min(self.logger.getEffectiveLevel(), logging.INFO)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a line, and keep it."""
        if not self.isEnabledFor(level):
            return
        text = _text(msg, args)
        error = _exception(kwargs.get("exc_info"))
        self._lines.add(logging.getLevelName(level), _with_traceback(text, error))
        if self.logger.isEnabledFor(level):
            line = one_line(text, self._lines.most_characters)
            # It was logged where the handler stands, not here.
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            self.logger.log(level, "%s %s", self._prefix, line, **kwargs | {"exc_info": error})


def _text(msg: object, args: tuple[object, ...]) -> str:
    """Return what a call to a logger says; one that does not fit its arguments is no error."""
    try:
        return logging.LogRecord("", 0, "", 0, msg, args, None).getMessage()
    except Exception:
        return " ".join(_shown(each) for each in (msg, *args))


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return object.__repr__(value)


def _exception(exc_info: Any) -> BaseException | None:
    """Return the exception that a call to a logger means, if there is one."""
    if isinstance(exc_info, BaseException) or not exc_info:
        return exc_info or None
    details: tuple[Any, BaseException | None, Any]
    details = exc_info if isinstance(exc_info, tuple) else sys.exc_info()
    return details[1]


def _with_traceback(text: str, error: BaseException | None) -> str:
    if error is None:
        return text
    details = (type(error), error, error.__traceback__)
    return f"{text}\n{logging.Formatter().formatException(details)}"
