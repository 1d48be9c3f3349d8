"""PostgreSQL out of a wheel, as a child process that listens on 127.0.0.1 alone.

Owns one folder: the cluster, and the password of its one user. Used by the local run, and with
`durable=False` by tests, which may also kill it and start it again on the same data and port.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from app.local.binaries import POSTGRES_BIN, postgres_binaries
from app.local.children import Child, Sink, discard, never
from app.local.data_folder import secret
from app.local.errors import ChildDiedError, LocalRunError, with_last_lines
from app.local.ports import LOOPBACK, free_port
from app.local.server_user import can_reach, make_private, server_user
from app.local.waiting import POLL_SECONDS, Pause, wait_for_success, wait_until

USER = "task_manager"
DATABASE = "task_manager"
# For its parents' sake a folder may be closed to the server's user. A process is in its working
# folder already, and this name of it needs no way through them (proc_pid_cwd(5)).
WORKING_FOLDER = "/proc/self/cwd"
INITDB = (
    "--auth=reject",
    f"--username={USER}",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
# The only way in: by password, from this machine.
ACCESS_RULES = f"host all {USER} {LOOPBACK}/32 scram-sha-256\n"
# What the system's memory holds survives a crash of the server, so that commits still reach it
# (synchronous_commit stays on); only a crash of the machine may lose them.
FORGETFUL = ("fsync=off", "full_page_writes=off")
# Messages that would only puzzle whoever reads the log of a local run.
QUIET = ("log_checkpoints=off", "max_logical_replication_workers=0")
# Fixed, so that its messages are English, and that no PG variable of ours reaches it.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}

START_SECONDS = 60.0  # A crash recovery is part of it.
INITDB_SECONDS = 120.0
STOP_SECONDS = 10.0
# An earlier server on the same data, which was told to stop, or whose last processes are ending.
PREDECESSOR_SECONDS = 15.0
STILL_IN_USE = "is still in use"


class EmbeddedPostgres:
    """One server, on one folder and one port. A context manager: started within, stopped after."""

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        options: Sequence[str] = (),
        sink: Sink = discard,
        pause: Pause = time.sleep,
    ) -> None:
        """Prepare for `home`, created if need be; nothing is started.

        `port` is any free one when None. Without `durable` a crash of the machine loses data, and
        everything is faster. `options` are settings of PostgreSQL, as NAME=VALUE.
        """
        self._home = home.resolve()
        self._cluster = self._home / "cluster"
        self.port = port or free_port()
        self._settings = [*(() if durable else FORGETFUL), *QUIET, *options]
        self._sync = durable
        self._sink = sink
        self._pause = pause
        self._child: Child | None = None
        self._home.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._password = secret(self._home / "password")
        self._user = server_user(self._cluster)
        self._binaries = postgres_binaries(self._user)
        self._bin = self._binaries.root / POSTGRES_BIN

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

    def url(self, database: str = DATABASE) -> str:
        """Return the address of one database, password included."""
        return f"postgresql://{USER}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def child(self) -> Child:
        """The running server."""
        assert self._child is not None, "the server was not started"
        return self._child

    @property
    def pid(self) -> int:
        """The number of the server's main process."""
        return self.child.pid

    def start(self) -> None:
        """Start the server, on a new cluster if there is none, and wait until it takes connections.

        Raises:
            LocalRunError: it did not start; the message holds its last lines.
        """
        if not self._cluster.exists():
            self._create_cluster()
        self._wait_for_predecessor()
        deadline = time.monotonic() + PREDECESSOR_SECONDS
        while True:
            self._child = self._run("postgres", self._postgres_arguments(), self._cluster)
            try:
                wait_until(self._is_ready, START_SECONDS, self._child, pause=self._pause)
            except ChildDiedError as error:
                # The processes of one that was killed end by themselves a moment later.
                lingering = any(STILL_IN_USE in line for line in error.last_lines)
                if not lingering or time.monotonic() > deadline:
                    raise
                self._pause(POLL_SECONDS)
            else:
                return

    def stop(self, in_a_hurry: Callable[[], bool] = never) -> None:
        """Disconnect all clients and end the server; kill it if that takes more than 10 s."""
        if self._child is not None:
            self._child.stop(STOP_SECONDS, in_a_hurry)

    def kill(self) -> None:
        """End the server as a crash does (SIGKILL); `start` then recovers its data."""
        self.child.kill()

    def close(self, in_a_hurry: Callable[[], bool] = never) -> None:
        """Stop the server for good, and tidy up."""
        self.stop(in_a_hurry)
        self._binaries.remove_copy()

    def _create_cluster(self) -> None:
        """Make a cluster with its user and database, whole or not at all."""
        unfinished = self._home / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_private(unfinished, self._user)
        folder = self._folder_argument(unfinished)
        no_sync = () if self._sync else ("--no-sync",)
        self._finish("initdb", [f"--pgdata={folder}", *INITDB, *no_sync], unfinished)
        # Opened, not replaced: the file keeps its owner.
        (unfinished / "pg_hba.conf").write_text(ACCESS_RULES, encoding="ascii")
        sql = f"ALTER ROLE {USER} PASSWORD '{self._password}';\nCREATE DATABASE {DATABASE};\n"
        # In single-user mode, so that the password stands in no file and on no command line.
        lines = self._finish("postgres", ["--single", "-D", folder, "postgres"], unfinished, sql)
        if any("ERROR:" in line for line in lines):
            raise LocalRunError(with_last_lines("The new database could not be set up.", lines))
        unfinished.rename(self._cluster)

    def _finish(
        self, program: str, arguments: Sequence[str], folder: Path, text: str = ""
    ) -> list[str]:
        """Run a program to its end and return its last lines.

        Raises:
            LocalRunError: it failed, or took more than 120 s.
        """
        child = self._run(program, arguments, folder, text)
        wait_for_success(child, INITDB_SECONDS, pause=self._pause)
        return child.last_lines()

    def _wait_for_predecessor(self) -> None:
        """Wait until a server that an earlier run left on this data has ended."""
        pid_file = self._cluster / "postmaster.pid"
        deadline = time.monotonic() + PREDECESSOR_SECONDS
        while (lines := _lines_of(pid_file)) and _serves(int(lines[0]), self._cluster):
            if time.monotonic() > deadline:
                raise LocalRunError(
                    f"A PostgreSQL of an earlier run (process {lines[0]}) still uses "
                    f"{self._cluster}; stop it: kill -INT {lines[0]}"
                )
            self._pause(POLL_SECONDS)
        # Left by a crash. The number may by now belong to a process that is none of ours.
        pid_file.unlink(missing_ok=True)

    def _is_ready(self) -> bool:
        """Tell what the server says of itself, where pg_ctl looks too: in postmaster.pid."""
        lines = _lines_of(self._cluster / "postmaster.pid")
        return len(lines) >= 8 and int(lines[0]) == self.pid and lines[7].strip() == "ready"

    def _postgres_arguments(self) -> list[str]:
        arguments = ["-D", self._folder_argument(self._cluster), "-p", str(self.port)]
        arguments += ["-h", LOOPBACK, "-k", ""]  # No Unix socket.
        for setting in self._settings:
            arguments += ["-c", setting]
        return arguments

    def _folder_argument(self, folder: Path) -> str:
        return str(folder) if can_reach(folder, self._user) else WORKING_FOLDER

    def _run(self, program: str, arguments: Sequence[str], folder: Path, text: str = "") -> Child:
        # INT is PostgreSQL's "fast shutdown": TERM would wait for its clients to leave.
        return Child(
            "PostgreSQL" if program == "postgres" else program,
            [self._bin / program, *arguments],
            folder=folder,
            environment=ENVIRONMENT,
            user=self._user,
            text=text,
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            sink=self._sink if not text and program == "postgres" else discard,
        )


def _lines_of(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _serves(pid: int, cluster: Path) -> bool:
    """Tell whether the process lives and is the cluster's server (without /proc: any server)."""
    if Path(WORKING_FOLDER).exists():
        try:
            return Path(f"/proc/{pid}/cwd").samefile(cluster)
        except OSError:
            return False
    command = ["ps", "-o", "comm=", "-p", str(pid)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=5)
    return "postgres" in done.stdout
