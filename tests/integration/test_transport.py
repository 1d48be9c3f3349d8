"""Our transport beside kombu's own: the same commands, order and messages, and less done for them.

These tests fail when an upgrade of kombu changes what the transport leans on.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu import Connection
from kombu.asynchronous import Hub
from kombu.transport import redis as kombu_redis

from app.broker.celery import create_celery
from app.broker.transport import Channel, Transport
from app.settings import Settings
from tests.support import wait_for

QUEUES = ["overdue", "high", "medium", "low"]


@pytest.fixture
def celery(settings: Settings) -> Celery:
    return create_celery(settings, publisher_only=False)


@pytest.fixture
def connection(celery: Celery) -> Iterator[Connection]:
    with celery.connection_for_read() as connection:
        yield connection


@pytest.fixture
def channel(connection: Connection) -> Channel:
    return connection.default_channel


@pytest.mark.parametrize(("scheme", "encrypted"), [("redis", False), ("rediss", True)])
def test_it_serves_both_kinds_of_address(scheme: str, encrypted: bool) -> None:
    settings = Settings(redis_url=f"{scheme}://:secret@localhost:1/2", _env_file=None)

    connection = create_celery(settings, publisher_only=True).connection_for_write()

    assert connection.get_transport_cls() is Transport
    assert bool(connection.ssl) is encrypted
    assert (connection.password, connection.port, connection.virtual_host) == ("secret", 1, "2")


def take(connection: Connection, bodies: list[Any], count: int) -> list[Any]:
    while len(bodies) < count:
        connection.drain_events(timeout=5)
    return bodies


def test_messages_come_whole_and_the_most_urgent_queue_first(
    celery: Celery, connection: Connection, channel: Channel
) -> None:
    with celery.connection_for_write() as sender, sender.Producer() as producer:
        for queue in reversed(QUEUES):
            for number in (1, 2):
                body = {"очередь": queue, "number": number}
                producer.publish(body, routing_key=queue, headers={"task": "t"})
    bodies: list[Any] = []
    queues = [celery.amqp.queues[name] for name in QUEUES]
    consumer = connection.Consumer(queues, channel, accept=["json"], no_ack=True)
    consumer.register_callback(lambda body, message: bodies.append((body, message.headers)))
    consumer.consume()

    # The last one is taken out of the list of queues that are asked.
    consumer.cancel_by_queue("low")
    assert channel.active_queues == QUEUES[:-1]
    assert take(connection, bodies, 6) == [
        ({"очередь": queue, "number": number}, {"task": "t"})
        for queue in QUEUES[:-1]
        for number in (1, 2)
    ]
    consumer.add_queue(celery.amqp.queues["low"])
    consumer.consume()
    assert [body["number"] for body, _ in take(connection, bodies, 8)[6:]] == [1, 2]


def test_it_asks_with_the_very_command_that_kombu_sends(channel: Channel) -> None:
    real = channel.client.connection or channel.client.connection_pool.get_connection()
    sent: list[Any] = []
    channel.client.connection = SimpleNamespace(
        pack_command=real.pack_command,
        send_packed_command=sent.append,
        send_command=lambda *words: sent.append(real.pack_command(*words)),
    )
    channel._active_queues = QUEUES
    channel._update_queue_cycle()

    for start in (kombu_redis.Channel._brpop_start, Channel._brpop_start, Channel._brpop_start):
        start(channel)
        assert channel._in_poll is channel.client.connection
        channel._in_poll = None
    assert b"BRPOP" in b"".join(sent[0])
    assert sent[0] == sent[1] == sent[2]
    del channel._active_queues[1:]
    channel._update_queue_cycle()
    Channel._brpop_start(channel)
    assert sent[3] != sent[2]
    channel.client.connection, channel._in_poll = real, None


def test_one_client_serves_all_commands_until_kombu_starts_anew(channel: Channel) -> None:
    with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
        assert first is second
        assert first.ping()
    # What kombu does in a process that was forked.
    channel._after_fork()
    with channel.conn_or_acquire() as after:
        assert after is not first
        assert after.ping()
    given: Any = object()
    with channel.conn_or_acquire(given) as same:
        assert same is given


def test_the_loop_is_told_of_a_connection_once(
    celery: Celery, connection: Connection, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub()
    connection.register_with_event_loop(hub)
    assert len(hub.on_tick) == 1
    consumer = connection.Consumer(celery.amqp.queues["high"], channel, no_ack=True)
    bodies: list[Any] = []
    consumer.on_message = lambda message: bodies.append(message.payload)
    consumer.consume()
    hub.run_once()
    registered: list[int] = []
    monkeypatch.setattr(hub, "add_reader", lambda fd, *rest: registered.append(fd))

    with celery.connection_for_write() as sender, sender.Producer() as producer:
        for number in range(5):
            producer.publish(number, routing_key="high")

    def all_have_come() -> bool:
        hub.run_once()
        return len(bodies) == 5

    wait_for(all_have_come, 10, "the messages have come")
    assert bodies == list(range(5))
    assert registered == []
    hub.close()


def test_a_lost_connection_is_asked_again(connection: Connection, channel: Channel) -> None:
    channel._active_queues = QUEUES
    channel._update_queue_cycle()
    cycle = connection.transport.cycle
    cycle.on_poll_start()
    lost = channel._in_poll
    assert lost

    lost.disconnect()
    assert not channel._in_poll
    cycle.on_poll_start()

    assert channel._in_poll._sock.fileno() in cycle.fds
    channel._active_queues = []
    channel._update_queue_cycle()
