"""What must not come back: values of secret headers, also where a target repeats them.

Which headers are secret is told by their names. Everything that is stored or logged of an answer
passes through `Redaction` first, and everything that is shown of a payload through `conceal`.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote, quote_plus

from app.handlers.concealment import CONCEALED, all_concealed

_SECRET_NAME = re.compile(
    "auth|cookie|credential|key|passw|pwd|secret|session|signature|token", re.IGNORECASE
)
# Named alike, but telling nothing.
_NOT_SECRET = re.compile(
    "www-authenticate|proxy-authenticate|access-control-.*|idempotency-key", re.IGNORECASE
)
# A secret that is shorter would be found in most texts by chance. It is replaced only where it
# stands alone.
_SHORTEST = 4
# Cookies and parameters also have values that are no secrets, and those are mostly short.
_SHORTEST_PARAMETER = 6


def is_secret(name: str) -> bool:
    """Return whether a header of this name has a value that is not to be shown."""
    return bool(_SECRET_NAME.search(name)) and not _NOT_SECRET.fullmatch(name)


def conceal(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload as it may be shown."""
    headers = payload.get("headers", {})
    if not isinstance(headers, dict):
        return all_concealed(payload)
    if not headers:
        return payload
    shown = {name: CONCEALED if is_secret(name) else value for name, value in headers.items()}
    redaction = Redaction(headers)
    harmless = {**payload, "headers": shown}
    return redaction.json(harmless) if redaction.may_be_in(harmless) else harmless


class Redaction:
    """The secrets of one request, and the ways to take them out of what comes back."""

    def __init__(self, headers: Mapping[str, Any]) -> None:
        values = [str(value) for name, value in headers.items() if is_secret(name)]
        secrets = {part for value in values for part in _parts(value)}
        self._alone = secrets
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        # The longest first, so that no form hides a longer one that it begins.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._bytes = [
            data
            for form in self._forms
            for data in dict.fromkeys((form.encode(), form.encode("latin-1", "replace")))
        ]

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        pattern = "|".join(map(re.escape, self._forms))
        return re.compile(pattern) if pattern else None

    @cached_property
    def _bytes_pattern(self) -> re.Pattern[bytes] | None:
        pattern = b"|".join(map(re.escape, self._bytes))
        return re.compile(pattern) if pattern else None

    def may_be_in(self, value: Any) -> bool:
        """Return whether a JSON value may hold a secret; much cheaper than taking it out."""
        text = json.dumps(value, ensure_ascii=False)
        alone = (json.dumps(secret, ensure_ascii=False)[1:-1] for secret in self._alone)
        return any(form in text for form in (*self._forms, *alone))

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        if text in self._alone:
            return CONCEALED
        return self._pattern.sub(CONCEALED, text) if self._pattern else text

    def data(self, data: bytes) -> bytes:
        """Return data without the secrets."""
        mark = CONCEALED.encode()
        return self._bytes_pattern.sub(mark, data) if self._bytes_pattern else data

    def without_cut_secret(self, text: str) -> str:
        """Return a text that was cut off without a secret's beginning at its end."""
        return text[: len(text) - _overlap(text, self._forms)]

    def data_without_cut_secret(self, data: bytes) -> bytes:
        """Return data that was cut off without a secret's beginning at its end."""
        return data[: len(data) - _overlap(data, self._bytes)]

    def json(self, value: Any) -> Any:
        """Return a JSON value without the secrets in its texts, names and numbers."""
        if not self._alone:
            return value
        return self._json(value)

    def _json(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(name): self._json(item) for name, item in value.items()}
            case list():
                return [self._json(item) for item in value]
            case bool() | None:
                return value
            case _:
                found = self._pattern and self._pattern.search(json.dumps(value))
                return CONCEALED if found else value

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return an answer's headers as they may be shown."""
        return [
            (self.text(name), CONCEALED if is_secret(name) else self.text(value))
            for name, value in headers
        ]


def _parts(value: str) -> set[str]:
    """Return a secret header's value and what a target may take out of it."""
    whole = value.strip()
    parts = {whole}
    scheme, _, rest = whole.partition(" ")
    if rest.strip():
        parts.add(rest.strip())
    if scheme.lower() == "basic":
        parts |= _basic(rest.strip())
    # The values of cookies and of parameters (RFC 6265, section 4.2; RFC 9110, section 11.2).
    for piece in re.split("[;,]", whole):
        name, separator, item = piece.partition("=")
        item = item.strip().strip('"')
        if separator and name.strip() and len(item) >= _SHORTEST_PARAMETER:
            parts.add(item)
    return parts - {""}


def _basic(encoded: str) -> set[str]:
    """Return user:password and the password of Basic credentials (RFC 7617, section 2)."""
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return set()
    text = data.decode("utf-8", "replace")
    return {text, text.partition(":")[2]}


def _forms(secret: str) -> set[str]:
    """Return how a text may write a secret down: as it is, escaped, encoded."""
    escaped = json.dumps(secret)[1:-1]
    return {
        secret,
        escaped,
        escaped.replace("/", "\\/"),
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        html.escape(secret),
        html.escape(secret, quote=False),
        repr(secret.encode("latin-1", "replace"))[2:-1],
        base64.b64encode(secret.encode()).decode().rstrip("="),
    }


def _overlap(end: Any, forms: Iterable[Any]) -> int:
    """Return how many of the last characters are the beginning of a secret."""
    return max(
        (
            length
            for form in forms
            for length in range(1, min(len(form), len(end) + 1))
            if end.endswith(form[:length])
        ),
        default=0,
    )
