"""Task types that make trouble on purpose, for those who test their own clients and workers.

TROUBLE_TYPES=false leaves them out. Importing this package alone registers none of them.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

# What the routes POST /tasks/broken and POST /tasks/retry create.
BROKEN = "broken"
RETRY = "retry"


class TroublePayload(BaseModel):
    """A payload that is taken exactly as its schema says: no text for a number, no other field."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        # To JSON, 3.0 is an integer (JSON Schema, "Validation", section 6.1.1).
        return int(value) if isinstance(value, float) and value.is_integer() else value
