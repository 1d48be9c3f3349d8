"""Refuses what no route should have to look at: a body too large, or one that never ends.

An ASGI middleware, so that nothing is read into memory beyond the limit, whatever Content-Length
says or does not say.
"""

import asyncio

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem
from app.services.patience import Patience

# Seconds a client may be silent in the middle of its body.
_SILENCE_SECONDS = 30.0


class BodyLimit:
    """Answers 413 for a body above `max_bytes`, and 408 for one that stops coming.

    The body is read here, whole, and handed on as one message: it is small by then.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._patience = Patience(_SILENCE_SECONDS, _expire)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body, or answer it."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        if _announced(scope) > self._max_bytes:
            await self._too_large(scope)(scope, receive, send)
            return
        body = bytearray()
        more = True
        silence = asyncio.timeout(None)
        try:
            async with silence:
                try:
                    while more:
                        self._patience.begin(silence)
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            return
                        body += message.get("body", b"")
                        more = message.get("more_body", False)
                        if len(body) > self._max_bytes:
                            break
                finally:
                    # Within the time-out: once that is over, it can no longer be let expire.
                    self._patience.end(silence)
        except TimeoutError:
            late = f"The rest of the body did not come within {_SILENCE_SECONDS:g} s."
            await _closing(problem(Request(scope), 408, late))(scope, receive, send)
            return
        if len(body) > self._max_bytes:
            await self._too_large(scope)(scope, receive, send)
            return

        read = False

        async def receive_body() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, receive_body, send)

    def _too_large(self, scope: Scope) -> Response:
        detail = f"The body is larger than the {self._max_bytes} bytes that are allowed."
        return _closing(problem(Request(scope), 413, detail))


def _expire(silence: asyncio.Timeout) -> None:
    silence.reschedule(asyncio.get_running_loop().time())


def _announced(scope: Scope) -> int:
    """Return the Content-Length, which the server has checked to be a number; 0 for none."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return 0


def _closing(response: Response) -> Response:
    """End the connection with the answer: the rest of the body is still under way in it."""
    response.headers["Connection"] = "close"
    return response
