"""Text that PostgreSQL, JSON and a terminal can all hold."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """Return the text with each NUL and each lone surrogate replaced by U+FFFD.

    PostgreSQL stores neither in a text column (its manual, "Character Types"), and UTF-8 cannot
    encode a surrogate (RFC 3629, section 3).
    """
    encodable = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return encodable.replace("\0", _REPLACEMENT)


def one_line(text: str, limit: int) -> str:
    """Return storable text on a single line of at most `limit` characters."""
    line = " ".join(storable(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shortened(text: str, limit: int) -> str:
    """Return storable text of at most `limit` characters; its middle is left out if need be.

    Of a traceback the beginning says what was called, and the end says why it failed.
    """
    whole = storable(text)
    if len(whole) <= limit:
        return whole
    half = max((limit - len(_LEFT_OUT)) // 2, 0)
    return (whole[:half] + _LEFT_OUT + whole[len(whole) - half :])[:limit]


_LEFT_OUT = "\n… (shortened) …\n"
