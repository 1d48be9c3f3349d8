"""Child processes: started in a session of their own, read line by line, stopped within a bound.

A terminal's Ctrl-C reaches the launcher alone, which then stops them in its order. On Linux they
end when the thread that started them does, so start them from one that lives on (the main one).
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from app.local import tether
from app.local.errors import ChildDiedError
from app.local.server_user import ServerUser

# Receives each line that a child writes, without its end.
Sink = Callable[[str], None]

KEPT_LINES = 12
LONGEST_LINE_BYTES = 65_536
POLL_SECONDS = 0.02


def discard(line: str) -> None:
    """A sink that keeps nothing."""


def never() -> bool:
    """The answer of a caller who is not in a hurry."""
    return False


class Child:
    """One child process, running from the moment it is created."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        folder: Path,
        environment: Mapping[str, str],
        user: ServerUser | None = None,
        text: str = "",
        stop_signal: signal.Signals = signal.SIGTERM,
        orphan_signal: signal.Signals = signal.SIGKILL,
        sink: Sink = discard,
    ) -> None:
        """Start `command` in `folder`, with `text` on its standard input.

        The program is given by its path; one that cannot be started ends at once, and says why.
        `stop_signal` asks it to stop; `orphan_signal` is what it gets on Linux when we die.
        """
        self.name = name
        self._stop_signal = stop_signal
        self._sink = sink
        self._last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._process = subprocess.Popen(
            [*_tethered(orphan_signal, user), *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"{name}-output", daemon=True)
        self._reader.start()
        self._write(text)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.poll()

    def last_lines(self) -> list[str]:
        """Return the last lines that it wrote; all of them once it has ended."""
        if self.exit_code is not None:
            self._reader.join(timeout=1)
        return list(self._last_lines)

    def ensure_alive(self) -> None:
        """Do nothing while it runs.

        Raises:
            ChildDiedError: it has ended.
        """
        if (code := self.exit_code) is not None:
            raise ChildDiedError(f"{self.name} {describe_exit(code)}.", self.last_lines())

    def stop(self, seconds: float, in_a_hurry: Callable[[], bool] = never) -> None:
        """Ask it to stop; kill it after `seconds`, or as soon as `in_a_hurry` says so."""
        self._signal(self._stop_signal)
        deadline = time.monotonic() + seconds
        while self.exit_code is None and time.monotonic() < deadline and not in_a_hurry():
            time.sleep(POLL_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it, and what it left in its session, at once."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        # That nobody is left, macOS says with a PermissionError.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._reader.join(timeout=1)

    def _signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            self._process.send_signal(number)

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        # When it has ended already, its output says why.
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(text.encode())

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            while raw := output.readline(LONGEST_LINE_BYTES):
                line = raw.decode(errors="replace").rstrip()
                self._last_lines.append(line)
                self._sink(line)


def describe_exit(code: int) -> str:
    """Return how a process ended, in words."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _tethered(orphan_signal: signal.Signals, user: ServerUser | None) -> list[str]:
    uid, gid = (str(user.uid), str(user.gid)) if user else (tether.KEEP_USER, tether.KEEP_USER)
    # Isolated and without site-packages: it starts in a few milliseconds, from any folder.
    script = str(Path(tether.__file__).resolve())
    parent, number = str(os.getpid()), str(int(orphan_signal))
    return [sys.executable, "-I", "-S", script, parent, number, uid, gid]
