"""What an answer means: done, try again and when, or never."""

import email.utils
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from app.domain.text import one_line
from app.handlers.errors import PermanentError, RetryLater

# Too slow a request, too early (RFC 8470), too many; and whatever the server blames itself for.
_RETRIED = {408, 425, 429}
_DIGITS = re.compile("[0-9]+")
_PIECE = 200


class TargetFailed(Exception):
    """The target answered that it could not do it now."""


class NoAnswer(Exception):
    """The target did not answer, or not in a way that can be understood."""


def raise_failure(
    status: int, reason: str, text: str | None, retry_after: Sequence[str], most_seconds: float
) -> None:
    """Raise what an answer means that is no success.

    `text` is its body, if that is a text; `retry_after` has the values of its headers Retry-After,
    of which no more than `most_seconds` are waited.

    Raises:
        RetryLater, TargetFailed: trying again may help.
        PermanentError: it would not.
    """
    said = one_line(text or "", _PIECE)
    answer = f"the target answered {f'{status} {one_line(reason, 50)}'.strip()}"
    message = f"{answer}: {said}" if said else answer
    if status not in _RETRIED and not 500 <= status <= 599:
        raise PermanentError(message)
    seconds = pause_seconds(retry_after, datetime.now(UTC), most_seconds)
    if seconds is None:
        raise TargetFailed(message)
    raise RetryLater(message, seconds)


def pause_seconds(values: Sequence[str], now: datetime, most_seconds: float) -> float | None:
    """Return the pause that Retry-After asks for (RFC 9110, section 10.2.3); None for no pause.

    A time that is past asks for none; neither does what is neither a number nor a date.
    """
    found = [seconds for value in values if (seconds := _seconds(value.strip(), now)) is not None]
    return min(max(found), most_seconds) if found else None


def _seconds(value: str, now: datetime) -> float | None:
    if _DIGITS.fullmatch(value):
        # Python does not read endless numbers; these are longer than any limit.
        return float(value[:300]) if len(value) < 300 else float("inf")
    try:
        date = email.utils.parsedate_to_datetime(value)
        # Dates of HTTP are in UTC (RFC 9110, section 5.6.7).
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max((date - now).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
