"""Valkey out of a wheel, as a child process that listens on 127.0.0.1 alone.

Owns one folder: the append-only file, and the password. Used by the local run, and with
`durable=False` by tests, which may also kill it and start it again on the same data and port.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from app.local.binaries import valkey_binaries
from app.local.children import Child, Sink, discard, never
from app.local.data_folder import secret
from app.local.ports import LOOPBACK, free_port
from app.local.probes import redis_problem
from app.local.server_user import make_private, server_user
from app.local.waiting import Pause, wait_until

START_SECONDS = 60.0  # Loading the data is part of it.
STOP_SECONDS = 5.0


class EmbeddedValkey:
    """One server, on one folder and one port. A context manager: started within, stopped after."""

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        databases: int = 16,
        sink: Sink = discard,
        pause: Pause = time.sleep,
    ) -> None:
        """Prepare for `home`, created if need be; nothing is started.

        `port` is any free one when None. A crash of the machine loses the last second, and without
        `durable` more than that; a crash of the server alone loses nothing that it has answered.
        """
        self._home = home.resolve()
        self._data = self._home / "data"
        self.port = port or free_port()
        self._databases = databases
        self._durable = durable
        self._sink = sink
        self._pause = pause
        self._child: Child | None = None
        self._home.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._password = secret(self._home / "password")
        self._user = server_user(self._data)
        self._binaries, self._program = valkey_binaries(self._user)
        make_private(self._data, self._user)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def url(self, database: int = 0) -> str:
        """Return the address of one numbered database, password included."""
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def child(self) -> Child:
        """The running server."""
        assert self._child is not None, "the server was not started"
        return self._child

    @property
    def pid(self) -> int:
        """The server's process number."""
        return self.child.pid

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            LocalRunError: it did not start; the message holds its last lines.
        """
        self._child = Child(
            "Valkey",
            [self._binaries.root / self._program, "-"],
            folder=self._data,
            environment={"LC_ALL": "C", "PATH": os.defpath},
            user=self._user,
            # On its input, so that the password stands on no command line. It stays in the folder
            # it starts in (`dir` is left alone), whose parents its user may not be able to enter.
            text=self._configuration(),
            sink=self._sink,
        )
        wait_until(self._is_ready, START_SECONDS, self._child, pause=self._pause)

    def stop(self, in_a_hurry: Callable[[], bool] = never) -> None:
        """End the server in order; kill it if that takes more than 5 s."""
        if self._child is not None:
            self._child.stop(STOP_SECONDS, in_a_hurry)

    def kill(self) -> None:
        """End the server as a crash does (SIGKILL); `start` then loads its data again."""
        self.child.kill()

    def close(self, in_a_hurry: Callable[[], bool] = never) -> None:
        """Stop the server for good, and tidy up."""
        self.stop(in_a_hurry)
        self._binaries.remove_copy()

    def _configuration(self) -> str:
        return "\n".join(
            [
                f"bind {LOOPBACK}",
                f"port {self.port}",
                f"requirepass {self._password}",
                f"databases {self._databases}",
                "appendonly yes",
                f"appendfsync {'everysec' if self._durable else 'no'}",
                'save ""',  # The append-only file is enough.
                # A message is never evicted to make room for another.
                "maxmemory-policy noeviction",
                "loglevel warning",
                "",
            ]
        )

    def _is_ready(self) -> bool:
        return redis_problem(self.url()) is None
