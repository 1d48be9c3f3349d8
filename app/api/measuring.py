"""Counts and times every request, by its route's template, so that ids do not become labels."""

import time
from functools import lru_cache

from prometheus_client import Counter, Histogram
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
            counter, histogram = _of(method, route, status)
            counter.inc()
            histogram.observe(time.perf_counter() - started)


@lru_cache(maxsize=1000)
def _of(method: str, route: str, status: str) -> tuple[Counter, Histogram]:
    """Return what counts and times such requests; to find it takes longer than to count."""
    return (
        metrics.HTTP_REQUESTS.labels(method, route, status),
        metrics.HTTP_SECONDS.labels(method, route),
    )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
