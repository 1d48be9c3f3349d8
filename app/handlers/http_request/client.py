"""The connections of one process to targets, kept open between its tasks.

Nothing of it is made before a process runs its first task of this type: it would not survive the
fork. An interruption can come at any line, also inside httpcore's own bookkeeping; after one, all
connections are dropped and made anew.
"""

import logging
import os
import ssl
from functools import lru_cache

import httpcore
import httpx

from app.domain.targets import AllowedTargets, parse_targets
from app.handlers.http_request.network import CheckedBackend, Exchange
from app.settings import get_settings

_MOST_CONNECTIONS = 10
# Shorter than servers keep an idle connection (the shortest usual time is 5 s), so that it is
# rarely one that the other side is just closing.
_IDLE_SECONDS = 4.0

# At DEBUG they write down all headers, and at INFO whole URLs.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class _Transport(httpx.HTTPTransport):
    """httpx's own transport, on connections that our backend makes; proxies play no part."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        super().__init__(verify=_tls())
        if not isinstance(getattr(self, "_pool", None), httpcore.ConnectionPool):
            # It would connect to any address.
            raise RuntimeError("this release of httpx keeps its connections elsewhere")
        self._pool = httpcore.ConnectionPool(
            ssl_context=_tls(),
            max_connections=_MOST_CONNECTIONS,
            max_keepalive_connections=_MOST_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=backend,
        )


class Client:
    """Sends requests, one after another."""

    def __init__(self, allowed: AllowedTargets) -> None:
        self.exchange = Exchange()
        self._backend = CheckedBackend(allowed, self.exchange)
        self._transport = _Transport(self._backend)

    def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer with the body yet to be read.

        Raises:
            PermanentError: the target is not to be connected to.
            httpx.TransportError: there is no answer.
        """
        self.exchange.request()
        response = self._transport.handle_request(request)
        self.exchange.has_head = True
        return response

    def drop(self) -> None:
        """Close all connections, whatever state they are in."""
        broken, self._transport = self._transport, _Transport(self._backend)
        broken.close()


def client() -> Client:
    """Return this process's client, made when it is first asked for."""
    return _client(os.getpid())


@lru_cache(maxsize=1)
def _client(pid: int) -> Client:
    return Client(parse_targets(get_settings().http_request_allow))


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Return what checks certificates: as SSL_CERT_FILE or SSL_CERT_DIR say, if they are set."""
    return httpx.create_ssl_context(trust_env=True)
