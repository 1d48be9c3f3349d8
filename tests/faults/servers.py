"""The two servers behind the service, with plugs to pull.

Embedded ones are killed, frozen and started again as processes. Those that the environment gives
(TEST_DATABASE_URL, TEST_REDIS_URL) belong to somebody, so that the same faults are made by a proxy
in front of them: to the service there is no difference.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg2
import redis

from app.local.postgres import EmbeddedPostgres
from app.local.valkey import EmbeddedValkey
from tests import servers
from tests.faults.proxy import FaultProxy
from tests.support import free_port, wait_for


class Plug:
    """A server that can be taken away and given back; `url` goes through `proxy`."""

    def __init__(
        self, url: str, proxy: FaultProxy, embedded: EmbeddedPostgres | EmbeddedValkey | None
    ) -> None:
        self.direct_url = url
        self.url = _through(url, proxy)
        self.proxy = proxy
        self._embedded = embedded

    def kill(self) -> None:
        """End the server without warning; its port then refuses."""
        if self._embedded is None:
            self.proxy.refuse()
        else:
            self._embedded.kill()

    def stop(self) -> None:
        """End the server in order, its clients disconnected; its port then refuses."""
        if self._embedded is None:
            self.proxy.refuse()
        else:
            self._embedded.stop()

    def start(self) -> None:
        """Start the server again, on the same data, and wait until it answers."""
        if self._embedded is None:
            self.proxy.heal()
        else:
            self._embedded.start()

    def freeze(self) -> None:
        """Let the server say nothing more, its connections open."""
        if self._embedded is None:
            self.proxy.hang()
        else:
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        if self._embedded is None:
            self.proxy.heal()
        else:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._embedded is not None
        main = psutil.Process(self._embedded.pid)
        for process in [main, *main.children(recursive=True)]:
            # A server's processes for single clients come and go.
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)


class RedisPlug(Plug):
    """Redis or Valkey."""

    def __init__(
        self, url: str, proxy: FaultProxy, embedded: EmbeddedValkey | None, data: Path
    ) -> None:
        super().__init__(url, proxy, embedded)
        self._data = data

    @contextmanager
    def client(self) -> Iterator["redis.Redis[bytes]"]:
        """Yield a client that does not go through the proxy."""
        client = redis.Redis.from_url(self.direct_url, socket_timeout=5)
        try:
            yield client
        finally:
            client.close()

    def wipe(self) -> None:
        """Forget everything, as a server without persistence does when it comes back."""
        with self.client() as client:
            if self._embedded is None:
                client.flushdb()
            else:
                client.flushall()

    def start_empty(self) -> None:
        """Start the server again after `kill`, with nothing of its data, before anyone reads it."""
        if self._embedded is None:
            self.wipe()
        else:
            for part in self._data.iterdir():
                shutil.rmtree(part)
        self.start()

    def has_listening_worker(self) -> bool:
        """Return whether a worker is back at work, whether or not it has a slot free.

        The last thing that its consumer does before its loop is to subscribe to Celery's commands.
        """
        with self.client() as client:
            return any(int(each["psub"]) or int(each["sub"]) for each in client.client_list())

    def waiting(self) -> int:
        """Return how many messages wait in all queues."""
        with self.client() as client:
            return sum(client.llen(queue) for queue in ("overdue", "high", "medium", "low"))


def _through(url: str, proxy: FaultProxy) -> str:
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{proxy.port}"))


def _proxy(url: str, default_port: int) -> FaultProxy:
    parts = urlsplit(url)
    return FaultProxy(parts.hostname or "127.0.0.1", parts.port or default_port)


@contextmanager
def postgres_plug(shared: servers.Postgres, directory: Path) -> Iterator[Plug]:
    """Yield a migrated database of its own, on a server of its own where that may be killed.

    Not on the shared embedded server: that one forgets commits in a crash, for speed.
    """
    with ExitStack() as stack:
        embedded = None
        if os.environ.get("TEST_DATABASE_URL"):
            url = stack.enter_context(shared.database())
        else:
            embedded = stack.enter_context(
                EmbeddedPostgres(directory / "postgres", port=free_port(), durable=False)
            )
            url = embedded.url()
            servers.migrate(url)
        proxy = stack.enter_context(_proxy(url, 5432))
        yield Plug(url, proxy, embedded)
        if embedded is not None:
            _wake(embedded)


@contextmanager
def redis_plug(shared: servers.Redis, directory: Path) -> Iterator[RedisPlug]:
    """Yield an empty Redis database, on a server of its own where that may be killed."""
    with ExitStack() as stack:
        embedded = None
        if os.environ.get("TEST_REDIS_URL"):
            url = stack.enter_context(shared.database())
        else:
            embedded = stack.enter_context(
                EmbeddedValkey(directory / "valkey", port=free_port(), durable=False)
            )
            url = embedded.url(0)
        proxy = stack.enter_context(_proxy(url, 6379))
        yield RedisPlug(url, proxy, embedded, directory / "valkey" / "data")
        if embedded is not None:
            _wake(embedded)


def _wake(embedded: EmbeddedPostgres | EmbeddedValkey) -> None:
    """Let a server that a failed test left frozen go on, or it could not be stopped."""
    try:
        main = psutil.Process(embedded.pid)
    except psutil.NoSuchProcess:
        return
    for process in [main, *main.children(recursive=True)]:
        # One that served a client may have ended with it.
        with suppress(psutil.NoSuchProcess):
            process.resume()


def accepts(url: str) -> bool:
    """Return whether PostgreSQL takes a connection at this address."""
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def wait_until_accepting(url: str, seconds: float) -> None:
    """Wait until PostgreSQL takes connections."""
    wait_for(lambda: accepts(url), seconds, "PostgreSQL takes connections")
