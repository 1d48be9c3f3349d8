"""What the model raises when the service breaks one of its promises."""


class Violation(AssertionError):
    """A promise was broken. The text says which, and what was seen."""


def require(holds: object, promise: str, *seen: object) -> None:
    """Raise a Violation that names the promise and what was seen, unless it holds."""
    if not holds:
        raise Violation("; ".join([f"broken promise: {promise}", *map(repr, seen)]))
