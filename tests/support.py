"""What tests share: waiting for a condition, and free ports."""

import os
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = threading.Event()


def wait_for(probe: Callable[[], T], seconds: float, message: str) -> T:
    """Ask `probe` until it returns something true, and return that; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not: {message}; last: {answer!r}")
        _PAUSE.wait(0.05)


# Below the ports that systems give to outgoing connections (32768 and up on Linux, 49152 and up
# elsewhere), so that none of those takes a port before a server binds it.
_PORTS = range(20_000, 32_000)
# Each process of a run of tests takes from a part of its own.
_PARTS = 4
_PART = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PARTS

# Often a port is found long before somebody listens on it, and free for a while in between.
_given: set[int] = set()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on, and that was not returned before."""
    mine = [port for port in _PORTS[_PART::_PARTS] if port not in _given]
    for port in random.sample(mine, min(len(mine), 100)):
        with socket.socket() as probe:
            # A connection that was closed just now is no hindrance to a server either.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise AssertionError("of 100 ports none is free")
