"""TCP ports on this machine: which are free, and one message when a wanted one is not."""

import socket

from app.local.errors import LocalRunError

LOOPBACK = "127.0.0.1"
CONNECT_TIMEOUT_SECONDS = 1.0


def ensure_free(variable: str, port: int) -> None:
    """Do nothing when `port`, which the environment `variable` sets, can be listened on.

    Raises:
        LocalRunError: another program listens there, or the system forbids it.
    """
    try:
        _bind(port)
        taken = _answers(port)
    except PermissionError:
        raise LocalRunError(
            f"The system does not let you listen on port {port}; "
            f"choose one above 1023: {variable}={port + 8000}"
        ) from None
    except OSError:
        taken = True
    if taken:
        raise LocalRunError(
            f"Port {port} is taken. Stop the program that listens there, or choose another: "
            f"{variable}={port + 1 if port < 65_535 else port - 1}"
        )


def free_port() -> int:
    """Return a port that was free a moment ago."""
    return _bind(0)


def _bind(port: int) -> int:
    with socket.socket() as probe:
        # As servers do: a connection that ended a moment ago does not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        bound: int = probe.getsockname()[1]
        return bound


def _answers(port: int) -> bool:
    """Tell whether someone listens, on all addresses, which macOS lets us bind beside."""
    try:
        with socket.create_connection((LOOPBACK, port), CONNECT_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False
