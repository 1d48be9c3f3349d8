"""Ports that are free, taken, or not ours to take."""

import socket

import pytest

from app.local.errors import LocalRunError
from app.local.ports import ensure_free, free_port


def test_a_free_port_is_free() -> None:
    ensure_free("API_PORT", free_port())


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_names_itself_and_the_variable_that_changes_it(address: str) -> None:
    with socket.create_server((address, 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(LocalRunError, match=rf"Port {port} is taken\..* API_PORT=\d+"):
            ensure_free("API_PORT", port)


def test_a_port_whose_last_connection_just_ended_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        connection, _ = server.accept()
        connection.close()  # The side that closes first keeps the port in TIME_WAIT.
        client.close()

    ensure_free("API_PORT", port)


def test_a_port_that_the_system_keeps_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise PermissionError

    monkeypatch.setattr("app.local.ports._bind", refuse)

    with pytest.raises(LocalRunError, match=r"does not let you listen on port 80; .*API_PORT=8080"):
        ensure_free("API_PORT", 80)
