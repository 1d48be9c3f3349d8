"""What must not come back: values of secret headers, also where a target repeats them.

Which headers are secret is told by their names. Everything that is stored or logged of an answer
passes through `Redaction` first, and everything that is shown of a payload through `conceal`.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
# A payload is shown again and again, in an event loop that serves others. So many characters times
# secrets are looked through; of what has more, nothing is shown.
_MOST_WORK = 4_000_000


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
    harmless = {**payload, "headers": shown}
    redaction = Redaction(headers)
    if redaction.work(harmless) > _MOST_WORK:
        return all_concealed(payload)
    cleaned: dict[str, Any] = redaction.json(harmless)
    return cleaned


class Redaction:
    """The secrets of one request, and the ways to take them out of what comes back."""

    def __init__(self, headers: Mapping[str, Any]) -> None:
        values = [str(value) for name, value in headers.items() if is_secret(name)]
        self._alone = {part for value in values for part in _parts(value)}

    @cached_property
    def _forms(self) -> list[str]:
        secrets = (secret for secret in self._alone if len(secret) >= _SHORTEST)
        forms = {form for secret in secrets for form in _forms(secret)}
        # The longest first, so that no form hides a longer one that is a part of it.
        return sorted(forms, key=lambda form: (-len(form), form))

    @cached_property
    def _bytes(self) -> list[bytes]:
        return [
            data
            for form in self._forms
            for data in dict.fromkeys((form.encode(), form.encode("latin-1", "replace")))
        ]

    def work(self, value: Any) -> int:
        """Return what it takes to look through a JSON value, in characters times secrets."""
        return len(self._alone) * sum(map(len, _texts(value)))

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        return self._without(text, self._forms)

    def _without(self, text: str, forms: Iterable[str]) -> str:
        if text in self._alone:
            return CONCEALED
        # One after the other: an expression of many alternatives tries them all at each character.
        for form in forms:
            text = text.replace(form, CONCEALED)
        return text

    def data(self, data: bytes) -> bytes:
        """Return data without the secrets."""
        for form in self._bytes:
            data = data.replace(form, CONCEALED.encode())
        return data

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
        texts = list(_texts(value))
        # Looked for in all texts at once, between which stands what no header has.
        together = "\0".join(texts)
        forms = [form for form in self._forms if form in together]
        if not forms and self._alone.isdisjoint(texts):
            return value
        return self._json(value, forms)

    def _json(self, value: Any, forms: Sequence[str]) -> Any:
        match value:
            case str():
                return self._without(value, forms)
            case dict():
                return {
                    self._without(name, forms): self._json(item, forms)
                    for name, item in value.items()
                }
            case list():
                return [self._json(item, forms) for item in value]
            case bool() | None:
                return value
            case _:
                digits = json.dumps(value)
                return CONCEALED if any(form in digits for form in forms) else value

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return an answer's headers as they may be shown."""
        return [
            (self.text(name), CONCEALED if is_secret(name) else self.text(value))
            for name, value in headers
        ]


def _texts(value: Any) -> Iterator[str]:
    """Yield what a JSON value has of texts, names and numbers."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case dict() as items:
                yield from items
                waiting += items.values()
            case list() as items:
                waiting += items
            case bool() | None:
                pass
            case number:
                yield json.dumps(number)


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
