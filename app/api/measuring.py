"""Counts and times every request, by its route's template, so that ids do not become labels."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics


class Measuring:
    """An ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and measure it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        # Stays so when the client went away before there was an answer.
        status = "none"

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        except Exception:
            # The answer is given further out, by Starlette.
            status = "500"
            raise
        finally:
            route = getattr(scope.get("route"), "path", "none")
            # A method is the client's word; only known ones may become a label.
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.HTTP_REQUESTS.labels(method, route, status).inc()
            metrics.HTTP_SECONDS.labels(method, route).observe(time.perf_counter() - started)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
