"""The kinds of values that clients send: texts that can be stored, whole numbers, times."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema


def _storable(text: str) -> str:
    if "\0" in text:
        # PostgreSQL's manual, "Character Types": the code zero cannot be stored.
        raise ValueError("must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        # An escape such as \ud800 alone is valid JSON, but no character.
        raise ValueError("must not contain a lone surrogate") from None
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def whole(number: Any) -> Any:
    """Return a number as an integer, if it is one."""
    # To JSON, 3.0 is an integer (JSON Schema, "Validation", section 6.1.1); to Python it is none.
    return int(number) if isinstance(number, float) and number.is_integer() else number


# The patterns only describe; the validators say in words what is wrong.
_NO_NUL = r"^[^\u0000]*$"
_NO_NUL_NOT_BLANK = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"
Text = Annotated[
    str, AfterValidator(_storable), WithJsonSchema({"type": "string", "pattern": _NO_NUL})
]
Title = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        description="What the task is about; not blank",
        json_schema_extra={"pattern": _NO_NUL_NOT_BLANK},
    ),
    AfterValidator(_storable),
    AfterValidator(_not_blank),
]
Description = Annotated[Text | None, Field(description="More about it, of any length")]


_DATE_FIRST = re.compile(r"\d{4}-\d\d-\d\d")


def _as_text(value: Any) -> Any:
    # Pydantic would take numbers as well, in quotes too, and guess whether they are seconds or
    # milliseconds.
    if value is None or (isinstance(value, str) and _DATE_FIRST.match(value)):
        return value
    raise ValueError("must be a time with its zone as RFC 3339 writes it, in quotes")


Time = Annotated[AwareDatetime, BeforeValidator(_as_text)]
