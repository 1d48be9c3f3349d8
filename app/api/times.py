"""Times as clients read them, the same in every answer."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema


def rfc3339(time: datetime) -> str:
    """Return a time in UTC as RFC 3339 has it, to the microsecond, no zeros at the end.

    As PostgreSQL writes it where it makes the JSON itself (`app.db.task_json`).
    """
    # A pooler may have changed the session's time zone, and with it what the driver returns.
    text = time.astimezone(UTC).isoformat()[: -len("+00:00")]
    return (text.rstrip("0") if time.microsecond else text) + "Z"


Time = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
