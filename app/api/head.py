"""Answers HEAD wherever GET is answered, as RFC 9110, section 9.1, asks of every server.

Monitors and `curl -I` use it. The server leaves the body out, by the method that it read itself.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """An ASGI middleware that hands a HEAD on as a GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
