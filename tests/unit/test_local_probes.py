"""What is said of servers that do not answer, or refuse."""

import socket
from collections.abc import Iterator

import pytest

from app.local import probes


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody.getsockname()[1]


def test_a_redis_that_answers_has_no_problem(redis_url: str) -> None:
    assert probes.redis_problem(redis_url) is None


def test_a_database_that_answers_has_no_problem(database_url: str) -> None:
    assert probes.database_problem(database_url) is None


def test_a_refused_connection_is_told_without_the_password(closed_port: int) -> None:
    expected = f"cannot be reached at 127.0.0.1:{closed_port} (Connection refused)"

    assert probes.redis_problem(f"redis://:secret@127.0.0.1:{closed_port}/0") == expected
    assert probes.database_problem(f"postgresql://u:secret@127.0.0.1:{closed_port}/d") == expected


def test_a_name_that_does_not_exist_is_told() -> None:
    problem = probes.database_problem("postgresql://u@no-such-host.invalid/d")

    assert problem is not None
    assert problem.startswith("cannot be reached at no-such-host.invalid:5432 (")


def test_a_silent_redis_is_given_up(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "CONNECT_TIMEOUT_SECONDS", 0.1)

    problem = probes.redis_problem(f"redis://127.0.0.1:{silent_port}")

    assert problem == f"cannot be reached at 127.0.0.1:{silent_port} (no answer)"


def test_a_silent_http_server_is_not_ok(
    silent_port: int, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "HTTP_TIMEOUT_SECONDS", 0.1)

    assert not probes.http_is_ok(silent_port, "/")
    assert not probes.http_is_ok(closed_port, "/")


@pytest.mark.parametrize("url", ["postgresql:///d?host=/run/postgresql", "postgresql://a,b/d"])
def test_a_database_without_one_host_is_left_to_the_migrations(url: str) -> None:
    assert probes.database_problem(url) is None


@pytest.mark.parametrize("ask", [probes.database_problem, probes.redis_problem])
def test_what_is_no_address_is_told(ask: object) -> None:
    assert callable(ask)
    assert "is not an address" in ask("scheme://host:port/0")
    # What stands before a slash in a password is taken for a port.
    assert "S3cret" not in ask("scheme://user:S3cret/xyz@host/0")


def test_words_are_sent_to_redis_with_their_length_in_bytes() -> None:
    assert probes._command("AUTH", "é") == b"*2\r\n$4\r\nAUTH\r\n$2\r\n\xc3\xa9\r\n"
