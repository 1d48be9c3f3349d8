"""What goes wrong in the local run, each with the one message that the user reads.

LocalRunError           the run cannot start or go on
    ChildDiedError           a process ended that should run
    NotReadyError            a process did not become ready in time
StopRequested           Ctrl-C, TERM or HUP: not an error, stops the run in order
"""

from collections.abc import Sequence


class LocalRunError(Exception):
    """The run cannot start or go on; the message says why and what helps."""


class ChildDiedError(LocalRunError):
    """A process ended that should run. Holds the last lines that it wrote."""

    def __init__(self, message: str, last_lines: Sequence[str]) -> None:
        super().__init__(with_last_lines(message, last_lines))
        self.last_lines = tuple(last_lines)


class NotReadyError(LocalRunError):
    """A process runs, but did not become ready within its time."""


class StopRequested(BaseException):
    """Someone asked the run to stop. Not an Exception, so that no handler takes it for an error."""


def with_last_lines(message: str, last_lines: Sequence[str]) -> str:
    """Return the message, followed by a program's last lines: a single one beside it."""
    if not last_lines:
        return message
    if len(last_lines) == 1:
        return f"{message} It says: {last_lines[0]}"
    return "\n".join([f"{message} Its last lines:", *(f"    {line}" for line in last_lines)])
