"""kombu's transport for Redis, with less to do for each message.

Owns how commands get to Redis and messages back; what is sent, and in which order queues are
asked, is kombu's. Takes the place of kombu's own transport in a process (`install`), for each
redis:// and rediss:// address. Leans on kombu's insides, which tests hold by name.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from time import monotonic
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils.encoding import bytes_to_str

log = logging.getLogger(__name__)


class Channel(redis.Channel):
    """kombu's channel, which keeps what kombu works out anew for each message."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # kombu's own property builds this list several times in each turn of the loop.
        self._consumed: list[str] = []
        self._shared_client: Any = None
        self._packed: tuple[list[str], Any] | None = None
        super().__init__(*args, **options)

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """Yield a client to talk to Redis with; kombu makes a new one for each command.

        Threads may share one: each command takes a connection from the pool for itself.
        """
        shared = self._shared_client
        # kombu forgets its pool after a fork, and when the channel is closed.
        if client is None and (shared is None or shared.connection_pool is not self._pool):
            shared = self._shared_client = self._create_client()
        yield client or shared

    @property
    def active_queues(self) -> list[str]:
        """The queues that are consumed, without those of Celery's commands."""
        return self._consumed

    def _update_queue_cycle(self) -> None:
        # kombu calls this whenever it has begun or ended to consume a queue.
        self._consumed = super().active_queues
        super()._update_queue_cycle()

    def _queue_bind(self, *binding: Any) -> None:
        """Store which queue belongs to an exchange, if Redis takes it.

        kombu does so before it consumes, and would end the connection if it could not. A Redis that
        is full, perhaps of our own messages, is emptied only by those who consume. Nobody here goes
        by what is stored: messages are put into the queues themselves.
        """
        try:
            super()._queue_bind(*binding)
        except self.ResponseError as error:
            log.warning("Redis does not store the address of a queue: %s", error)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for a message, without putting the same command together each time."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if timeout is not None or self.global_keyprefix or not queues:
            super()._brpop_start(timeout)
            return
        connection = self.client.connection
        if self._packed is None or self._packed[0] != queues:
            keys = [
                self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues
            ]
            command = connection.pack_command("BRPOP", *keys, self.brpop_timeout or 0)
            self._packed = list(queues), command
        self._in_poll = connection
        self._brpop_sent_at = monotonic()
        connection.send_packed_command(self._packed[1])

    def _brpop_read(self, **options: Any) -> bool:
        """Deliver the message that has come, or raise Empty if none has.

        As kombu does, but for a plain JSON decoder. Kombu's one looks at each object in a message
        for a value of a Python type, which none of ours has.
        """
        connection = self.client.connection
        try:
            try:
                answer = self.client.parse_response(connection, "BRPOP", **options)
            except self.connection_errors:
                # The next turn then connects again.
                connection.disconnect()
                raise
            if not answer:
                raise Empty
            key, item = answer
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self.connection._deliver(json.loads(item), queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()


class _Poller(redis.MultiChannelPoller):
    """kombu's poller, which asks whether a message may be taken only when none is asked for."""

    def on_poll_start(self) -> None:
        """Ask for what is not asked for yet. Called in each turn of the loop."""
        if self._paused_brpop:
            # An answer had come when its message could not be taken any more.
            super().on_poll_start()
            return
        for channel in self._channels:
            # kombu clears both when the answer has been read or the connection is lost.
            if not channel._in_poll and channel.active_queues and channel.qos.can_consume():
                self._register_BRPOP(channel)
            if not channel._in_listen and channel.active_fanout_queues:
                self._register_LISTEN(channel)

    def maybe_refresh_binding_expiry(self) -> None:
        """Keep the addresses of Celery's commands to workers alive. Called once a second.

        kombu says with a traceback each time when Redis refuses that; those who publish say so too.
        """
        for channel in self._channels:
            try:
                channel.maybe_refresh_binding_expiry()
            except (*channel.connection_errors, channel.ResponseError) as error:
                log.debug("The addresses of commands were not kept alive: %s", error)


class Transport(redis.Transport):
    """kombu's transport over such channels."""

    Channel = Channel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cycle = _Poller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Let the loop look at the connections; kombu tells it so again in each turn."""
        before = set(loop.on_tick)
        super().register_with_event_loop(connection, loop)
        loop.on_tick -= loop.on_tick - before
        cycle = self.cycle

        def on_poll_start() -> None:
            cycle.on_poll_start()
            for descriptor in cycle._fd_to_chan:
                if descriptor not in loop.readers and descriptor not in cycle._paused_brpop:
                    loop.add_reader(descriptor, self.on_readable, descriptor)

        loop.on_tick.add(on_poll_start)


def install() -> None:
    """Let this process's connections to Redis be of this kind from now on."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport"))
