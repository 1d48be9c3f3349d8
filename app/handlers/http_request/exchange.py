"""One request and its answer, redirects included, within one time for all of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from app.handlers.context import TaskContext
from app.handlers.errors import PermanentError
from app.handlers.http_request import body, signing, urls
from app.handlers.http_request.body import Body
from app.handlers.http_request.client import Client
from app.handlers.http_request.payload import HttpRequest
from app.handlers.http_request.redaction import is_secret

_MOST_REDIRECTS = 10
# What is read of a redirect's own body, so that its connection can be used again.
_REDIRECT_BODY = 16_384
# How long to wait for one of our own connections; one task at a time should find one free.
_POOL_SECONDS = 5.0
_REDIRECTS = {301, 302, 303, 307, 308}
# RFC 9110, section 9.2.2.
_IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
# What a connection that the other side had closed comes to, if that shows only on use.
_STALE = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, as it came; `seconds` is how long all of it took."""

    status: int
    reason: str
    url: str
    headers: list[tuple[str, str]]
    body: Body
    seconds: float

    def values(self, name: str) -> list[str]:
        """Return the values of the headers of this name, which is in lower case."""
        return [value for key, value in self.headers if key == name]


@dataclass(slots=True)
class _Request:
    """What the next request is to be; a redirect changes it."""

    method: str
    url: httpx.URL
    headers: dict[str, str]
    content: bytes | None
    is_signed: bool = True

    def built(self, key: bytes, message_id: str) -> httpx.Request:
        signature = signing.signature_headers(key, message_id, self.content or b"")
        headers = {**self.headers, **(signature if self.is_signed else {})}
        return httpx.Request(
            self.method,
            self.url,
            headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            content=self.content,
            # All others are the connection's own, which knows how much time is left.
            extensions={"timeout": {"pool": _POOL_SECONDS}},
        )

    def follow(self, status: int, url: httpx.URL) -> None:
        """Become the request that a redirect asks for (RFC 9110, section 15.4)."""
        becomes_get = self.method == "POST" and status in {301, 302}
        if becomes_get or (status == 303 and self.method != "HEAD"):
            self.method, self.content = "GET", None
            self._keep(lambda name: not name.lower().startswith("content-"))
        if urls.origin(url) != urls.origin(self.url):
            # Somebody else's business; nor does it come back with a second redirect.
            self.is_signed = False
            self._keep(lambda name: not is_secret(name))
        self.url = url

    def _keep(self, is_kept: Callable[[str], bool]) -> None:
        self.headers = {name: value for name, value in self.headers.items() if is_kept(name)}


def call(
    client: Client, payload: HttpRequest, context: TaskContext, key: bytes, most_bytes: int
) -> Answer:
    """Send what a payload asks for and return the answer, its body up to so many bytes.

    Raises:
        PermanentError: the URL, a redirect or an address is refused.
        BrokenBody, httpx.TransportError: there is no answer, or none that can be understood.
    """
    began_at = time.monotonic()
    client.exchange.begin(payload.timeout_seconds)
    request = _first(payload, context)
    for _ in range(_MOST_REDIRECTS + 1):
        response = _send(client, request.built(key, context.idempotency_token))
        try:
            location = _location(payload, response)
            if location is None:
                return Answer(
                    status=response.status_code,
                    reason=response.reason_phrase,
                    url=str(request.url),
                    headers=_headers(response),
                    body=body.read(response, most_bytes),
                    seconds=time.monotonic() - began_at,
                )
            body.read(response, _REDIRECT_BODY)
        finally:
            response.close()
        try:
            url = urls.following(request.url, location)
        except urls.UnfitUrl as error:
            raise PermanentError(f"the target redirects to a URL that {error}") from None
        request.follow(response.status_code, url)
    raise PermanentError(f"the target redirects more than {_MOST_REDIRECTS} times")


def _first(payload: HttpRequest, context: TaskContext) -> _Request:
    try:
        url = urls.checked(payload.url)
    except urls.UnfitUrl as error:
        raise PermanentError(f"the URL {error}") from None
    given = {name.lower() for name in payload.headers}
    kind = "application/json" if payload.has_json else "text/plain; charset=utf-8"
    content = payload.content()
    usual = {
        "Accept": "*/*",
        # The result is to hold the body as it is; a compressed one would have to be unpacked.
        "Accept-Encoding": "identity",
        "User-Agent": signing.USER_AGENT,
        **({} if content is None else {"Content-Type": kind}),
    }
    headers = {name: value for name, value in usual.items() if name.lower() not in given}
    headers |= payload.headers | signing.task_headers(context)
    return _Request(payload.http_method, url, headers, content)


def _send(client: Client, request: httpx.Request) -> httpx.Response:
    try:
        return client.send(request)
    except _STALE:
        happened = client.exchange
        if happened.connections or happened.received or request.method not in _IDEMPOTENT:
            raise
    # The target had closed a connection that was kept from an earlier request.
    return client.send(request)


def _location(payload: HttpRequest, response: httpx.Response) -> str | None:
    """Return where an answer sends us, if we are to go there."""
    is_redirect = response.status_code in _REDIRECTS and payload.follow_redirects
    if not is_redirect or payload.is_success(response.status_code):
        return None
    location: str | None = response.headers.get("location")
    return location


def _headers(response: httpx.Response) -> list[tuple[str, str]]:
    return [(_decoded(name).lower(), _decoded(value)) for name, value in response.headers.raw]


def _decoded(data: bytes) -> str:
    # RFC 9110, section 5.5: nothing beyond ASCII is certain; most of what comes is UTF-8.
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
