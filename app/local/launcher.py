"""The local run as a list of steps: servers, migrations, processes, readiness, and the way back.

Owns the order. Each step says what undoes it before it does anything, so that a run that fails or
is stopped at any point stops what it has started, last first: Flower, worker, API, Valkey,
PostgreSQL.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import NoReturn

from app.local import commands
from app.local.children import Child
from app.local.console import Console
from app.local.data_folder import locked
from app.local.environment import PROJECT, Options, child_environment
from app.local.errors import LocalRunError, StopRequested
from app.local.ports import LOOPBACK, ensure_free
from app.local.postgres import EmbeddedPostgres
from app.local.probes import database_problem, http_is_ok, redis_problem
from app.local.signals import StopSignals
from app.local.valkey import EmbeddedValkey
from app.local.waiting import wait_for_success, wait_until

START_SECONDS = 60.0
MIGRATION_SECONDS = 900.0
# Time for a process to end in order before it is killed; a worker's tasks have theirs on top.
STOP_SECONDS = 5.0
MONITOR_SECONDS = 0.5
# Each question leaves a line in the API's log.
POLL_SECONDS = 0.2


class LocalRun:
    """One run, from the first check to the last process's end."""

    def __init__(
        self,
        options: Options,
        environment: Mapping[str, str],
        console: Console,
        signals: StopSignals,
    ) -> None:
        """Take the choices; nothing is started. `environment` is handed on to the service."""
        self._options = options
        self._environment = environment
        self._console = console
        self._signals = signals
        self._children: list[Child] = []
        self._undo = ExitStack()

    def run(self) -> NoReturn:
        """Start everything, and watch over it until the run is stopped.

        Raises:
            StopRequested: it was stopped; everything has ended.
            LocalRunError: something failed; everything has ended.
        """
        with self._undo:
            try:
                self._reserve()
                self._start_servers()
                self._migrate()
                self._start_service()
                self._console.say(banner(self._options))
                self._console.release()
                self._watch()
            except StopRequested:
                self._console.say("Stopping; a second Ctrl-C hurries.")
                raise

    def _reserve(self) -> None:
        """Make sure that what this run needs is there and not in another's hands."""
        if self._options.embedded:
            self._undo.enter_context(locked(self._options.data_dir))
        ensure_free("API_PORT", self._options.api_port)
        ensure_free("FLOWER_PORT", self._options.flower_port)
        _ensure_usable("DATABASE_URL", self._options.database_url, database_problem)
        _ensure_usable("REDIS_URL", self._options.redis_url, redis_problem)

    def _start_servers(self) -> None:
        """Start what the environment does not name, and tell the service where everything is."""
        if self._options.embedded:
            self._console.say(f"Starting the embedded servers, data in {self._options.data_dir}")
        database_url = self._options.database_url or self._start_postgres()
        redis_url = self._options.redis_url or self._start_valkey()
        self._environment = child_environment(self._environment, database_url, redis_url)

    def _start_postgres(self) -> str:
        server = EmbeddedPostgres(
            self._options.data_dir / "postgres",
            sink=self._console.prefixed("postgres"),
            pause=self._signals.pause,
        )
        self._undo.callback(server.close, self._signals.in_a_hurry)
        server.start()
        self._children.append(server.child)
        return server.url()

    def _start_valkey(self) -> str:
        server = EmbeddedValkey(
            self._options.data_dir / "valkey",
            sink=self._console.prefixed("valkey"),
            pause=self._signals.pause,
        )
        self._undo.callback(server.close, self._signals.in_a_hurry)
        server.start()
        self._children.append(server.child)
        return server.url()

    def _migrate(self) -> None:
        self._console.say("Bringing the database's schema up to date")
        # Not among the children: it is meant to end.
        migration = self._spawn("migration", "The migration", commands.migrate())
        wait_for_success(
            migration, MIGRATION_SECONDS, needed=self._children, pause=self._signals.pause
        )

    def _start_service(self) -> None:
        """Start API, worker and Flower side by side, and wait until all of them are ready."""
        self._console.say("Starting API, worker and Flower")
        api_port, flower_port = self._options.api_port, self._options.flower_port
        worker_stop_seconds = self._options.soft_shutdown_seconds + STOP_SECONDS
        api = self._spawn("api", "The API", commands.api(api_port))
        worker = self._spawn("worker", "The worker", commands.worker(), worker_stop_seconds)
        flower = self._spawn("flower", "Flower", commands.flower(flower_port))
        self._children += [api, worker, flower]
        self._wait(api, lambda: http_is_ok(api_port, "/health/live"))
        # Healthy means that the API reaches the database and the broker, and knows of a worker.
        self._wait(worker, lambda: http_is_ok(api_port, "/health"))
        self._wait(flower, lambda: http_is_ok(flower_port, "/healthcheck"))

    def _watch(self) -> NoReturn:
        while True:
            for child in self._children:
                child.ensure_alive()
            self._signals.pause(MONITOR_SECONDS)

    def _spawn(
        self, prefix: str, name: str, command: Sequence[str], stop_seconds: float = STOP_SECONDS
    ) -> Child:
        child = Child(
            name,
            command,
            folder=PROJECT,
            environment=self._environment,
            sink=self._console.prefixed(prefix),
        )
        self._undo.callback(child.stop, stop_seconds, self._signals.in_a_hurry)
        return child

    def _wait(self, child: Child, ready: Callable[[], bool]) -> None:
        wait_until(
            ready,
            START_SECONDS,
            child,
            needed=self._children,
            pause=self._signals.pause,
            poll_seconds=POLL_SECONDS,
        )


def banner(options: Options) -> str:
    """Return the block that says where everything is, and what to try first."""
    api = f"http://{LOOPBACK}:{options.api_port}"
    return f"""
  API       {api}
  API docs  {api}/docs
  Flower    http://{LOOPBACK}:{options.flower_port}

  Create a task:
  curl -X POST {api}/tasks/ -H 'Content-Type: application/json' -d '{{"title": "My first task"}}'

  Ctrl-C stops everything.
"""


def _ensure_usable(variable: str, url: str | None, problem: Callable[[str], str | None]) -> None:
    if url is not None and (reason := problem(url)) is not None:
        raise LocalRunError(f"{variable} {reason}.")
