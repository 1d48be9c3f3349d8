"""Says of a payload where in a field something is wrong, as pydantic does of its own checks."""

from collections.abc import Iterable

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


def refuse(
    places: Iterable[tuple[str | int, ...]],
    reason: str,
) -> None:
    """Refuse a field for each of these places in it, and pass if there are none.

    Raises:
        ValidationError: pydantic takes it over and adds the way to the field.
    """
    faults = [
        InitErrorDetails(
            type=PydanticCustomError("unfit", "{why}", {"why": reason}), loc=place, input=None
        )
        for place in places
    ]
    if faults:
        raise ValidationError.from_exception_data("unfit", faults)
