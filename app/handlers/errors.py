"""Errors that a handler may raise on purpose. Any other one is a failure that may be retried."""

from app.domain.retry import LONGEST_PAUSE_SECONDS


class PermanentError(Exception):
    """Trying again would not help: the task ends FAILED, whatever attempts are left."""


class RetryLater(Exception):
    """Try again, but not before `after_seconds`, which whoever is overloaded has asked for.

    It is a failure as any other: it uses up an attempt, and the pause is the longer one of this
    and of the task's back-off. More than a week counts as a week.

    Raises:
        ValueError: `after_seconds` is not a number of seconds, 0 or more.
    """

    def __init__(self, message: str, after_seconds: float) -> None:
        super().__init__(message)
        # The comparison also refuses a NaN.
        if not (isinstance(after_seconds, int | float) and after_seconds >= 0):
            raise ValueError("after_seconds must be a number of seconds, 0 or more")
        self.after_seconds = float(min(after_seconds, LONGEST_PAUSE_SECONDS))


class AttemptStopped(BaseException):
    """Raised in a handler's code when its attempt is to stop. Not an Exception, on purpose.

    Clean up in `finally` or `except BaseException`, and let it pass.
    """
