"""The proxy does what it says: a fault that is not made would make every test behind it pass."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import FaultProxy
from tests.support import wait_for


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back whatever it gets, to one client after another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                try:
                    while data := connection.recv(4096):
                        connection.sendall(data)
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: int) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", echo) as proxy:
        yield proxy


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=2)


def ask(client: socket.socket, text: bytes = b"hello") -> bytes:
    client.sendall(text)
    return client.recv(4096)


def test_a_healthy_proxy_forwards(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        assert ask(client) == b"hello"
        assert proxy.connections == 1
    wait_for(lambda: proxy.connections == 0, 2, "the connection is forgotten")


def test_refuse_resets_what_is_open_and_refuses_what_is_new(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        assert ask(client) == b"hello"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)

    proxy.heal()
    with connect(proxy) as client:
        assert ask(client) == b"hello"


def test_reset_ends_open_connections_only(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        assert ask(client) == b"hello"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with connect(proxy) as client:
        assert ask(client) == b"hello"


def test_hang_says_nothing_until_healed(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        assert ask(client) == b"hello"
        proxy.hang()
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            ask(client, b"late")
        client.settimeout(2)
        proxy.heal()
        assert client.recv(10) == b"late"


def test_cut_after_sends_part_of_an_answer_and_resets(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        assert ask(client) == b"hello"
        proxy.cut_after(3)
        assert ask(client) == b"hel"
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_cut_after_counts_for_each_connection_and_for_new_ones(proxy: FaultProxy) -> None:
    with connect(proxy) as first, connect(proxy) as second:
        for client in (first, second):
            assert ask(client) == b"hello"
        proxy.cut_after(3)
        with connect(proxy) as third:
            for client in (first, second, third):
                assert ask(client) == b"hel"
                with pytest.raises(ConnectionResetError):
                    client.recv(1)


def test_one_answer_is_lost_and_no_other(proxy: FaultProxy) -> None:
    with connect(proxy) as first, connect(proxy) as second:
        proxy.cut_answer_to(b"commit", after=b"claim")
        # Not this one: what came before it belongs to the request before.
        assert ask(first, b"claim") == b"claim"
        assert ask(second, b"commit") == b"commit"
        assert ask(second, b"claim") == b"claim"
        assert ask(second, b"com") == b"com"
        with pytest.raises(ConnectionResetError):
            ask(second, b"mit")
        assert proxy.answers_cut == 1
        assert ask(first, b"commit") == b"commit"
    with connect(proxy) as third:
        assert ask(third, b"claim, commit") == b"claim, commit"
    assert proxy.answers_cut == 1


def test_an_answer_is_lost_only_if_it_holds_what_it_should(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        proxy.cut_answer_to(b"pop", holding=b"message")
        assert ask(client, b"pop nothing") == b"pop nothing"
        with pytest.raises(ConnectionResetError):
            ask(client, b"pop message")
    assert proxy.answers_cut == 1


def test_slow_takes_its_time(proxy: FaultProxy) -> None:
    with connect(proxy) as client:
        proxy.slow(chunk_bytes=1, pause_seconds=0.05)
        asked_at = time.monotonic()
        answer = ask(client, b"12345")
        while len(answer) < 5:
            answer += client.recv(5)
        assert answer == b"12345"
        assert time.monotonic() - asked_at > 0.25


def test_what_is_on_its_way_when_slow_ends_arrives_once_and_whole(proxy: FaultProxy) -> None:
    message = bytes(range(256)) * 8
    with connect(proxy) as client:
        proxy.slow(chunk_bytes=64, pause_seconds=0.05)
        client.sendall(message)
        answer = client.recv(1)
        # A small part has come back: the rest is in the middle of its way through the proxy.
        proxy.heal()
        while len(answer) < len(message):
            answer += client.recv(4096)
        # Nor does anything follow what was asked for.
        answer += ask(client)
    assert answer == message + b"hello"
