"""A long run under a steady load while a random sequence of faults is made, and what came of it.

Owns the faults by name, and the table at the end. The sequence comes from a seed, which the table
names, so that it can be made again.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
import psycopg2
import redis

from tests.faults import processes
from tests.faults.servers import Plug, RedisPlug, wait_until_accepting
from tests.lab import Lab
from tests.support import wait_for

# In seconds: how long after a fault a new task must be accepted and done. The longest of the waits
# that the service grants itself (a lease and five seconds), and some for a busy machine.
LONGEST_RECOVERY = 30.0
WORKERS = ("worker1", "worker2")


@dataclass
class Soak:
    """One run: the service, its plugs, the source of chance, and what was done so far."""

    lab: Lab
    database: Plug
    broker: RedisPlug
    chance: random.Random
    pause: Callable[[float], None]
    faults: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    # From when to when something was frozen, by time.monotonic(), with what follows of it.
    freezes: list[tuple[float, float]] = field(default_factory=list)

    def start_worker(self, name: str) -> None:
        """Start a worker, as whoever runs the service does when one has ended."""
        self.starts += 1
        # A log of its own each time, in which the next "ready." is looked for.
        fresh = f"{name}-{self.starts}"
        self.lab.service.start_worker(fresh)
        self.lab.service.processes[name] = self.lab.service.processes.pop(fresh)

    def worker(self) -> tuple[str, psutil.Process]:
        """Return one of the workers, by chance."""
        name = self.chance.choice(WORKERS)
        return name, psutil.Process(self.lab.service.processes[name].pid)

    def some_time(self, least: float, most: float) -> None:
        """Let the load go on for a while."""
        self.pause(self.chance.uniform(least, most))

    def make_fault(self) -> str:
        """Make one fault, by chance, and undo it; return its name."""
        name, fault = self.chance.choice(list(FAULTS.items()))
        print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
        fault(self)
        self.faults[name] += 1
        return name


def _kill_child(soak: Soak) -> None:
    _, worker = soak.worker()
    if pool := processes.pool(worker):
        soak.chance.choice(pool).kill()


def _freeze_child(soak: Soak) -> None:
    _, worker = soak.worker()
    if pool := processes.pool(worker):
        child = soak.chance.choice(pool)
        child.suspend()
        soak.some_time(1, 6)
        if processes.runs(child):
            child.resume()


def _kill_main(soak: Soak) -> None:
    name, _ = soak.worker()
    processes.kill_main_only(soak.lab, name)
    soak.some_time(0, 2)
    soak.start_worker(name)


def _kill_all_workers(soak: Soak) -> None:
    for name in WORKERS:
        soak.lab.service.kill(name)
    soak.some_time(0, 2)
    for name in WORKERS:
        soak.start_worker(name)


def _freeze_worker(soak: Soak) -> None:
    _, worker = soak.worker()
    with processes.frozen(worker, *worker.children(recursive=True)):
        # Some times past the end of its leases.
        began_at = time.monotonic()
        soak.some_time(1, 12)
    # A process that wakes is told by its next heartbeat; a busy machine takes its time.
    soak.freezes.append((began_at, time.monotonic() + 5))


def _deploy(soak: Soak) -> None:
    name, _ = soak.worker()
    assert soak.lab.service.stop(name) == 0
    soak.start_worker(name)


def _kill_api(soak: Soak) -> None:
    soak.lab.service.kill("api")
    soak.some_time(0, 1)
    soak.lab.service.start_api()


def _redis_down(soak: Soak) -> None:
    soak.broker.kill()
    soak.some_time(0.2, 8)
    soak.broker.start()


def _redis_flaps(soak: Soak) -> None:
    for _ in range(3):
        soak.broker.kill()
        soak.some_time(0.1, 0.5)
        soak.broker.start()
        soak.some_time(0.1, 0.5)


def _redis_frozen(soak: Soak) -> None:
    soak.broker.freeze()
    soak.some_time(0.5, 12)
    soak.broker.thaw()


def _redis_empty(soak: Soak) -> None:
    soak.broker.wipe()


def _redis_reborn(soak: Soak) -> None:
    soak.broker.kill()
    soak.some_time(0.2, 3)
    soak.broker.start_empty()


def _messages_doubled(soak: Soak) -> None:
    with soak.broker.client() as client:
        for queue in ("overdue", "high", "medium", "low"):
            for message in client.lrange(queue, 0, -1):
                client.lpush(queue, message)


def _messages_malformed(soak: Soak) -> None:
    with soak.broker.client() as client:
        for message in ("no json", "[]", '{"body": 1}', "[" * 10_000):
            client.lpush(soak.chance.choice(("high", "medium", "low")), message)


def _database_killed(soak: Soak) -> None:
    soak.database.kill()
    soak.some_time(0.2, 5)
    soak.database.start()
    wait_until_accepting(soak.database.direct_url, 30)


def _database_restarted(soak: Soak) -> None:
    soak.database.stop()
    soak.some_time(0.2, 2)
    soak.database.start()
    wait_until_accepting(soak.database.direct_url, 30)


def _database_frozen(soak: Soak) -> None:
    soak.database.freeze()
    soak.some_time(0.5, 8)
    soak.database.thaw()


def _network(server: str) -> Callable[[Soak], None]:
    def fault(soak: Soak) -> None:
        proxy = getattr(soak, server).proxy
        kind = soak.chance.choice(("refuse", "hang", "reset", "cut", "slow"))
        match kind:
            case "refuse":
                proxy.refuse()
            case "hang":
                proxy.hang()
            case "reset":
                proxy.reset()
            case "cut":
                proxy.cut_after(soak.chance.choice((0, 1, 5, 20, 100, 1000)))
            case "slow":
                proxy.slow(chunk_bytes=200, pause_seconds=0.02)
        soak.some_time(0.2, 6)
        proxy.heal()

    return fault


FAULTS: dict[str, Callable[[Soak], None]] = {
    "pool process killed": _kill_child,
    "pool process frozen": _freeze_child,
    "worker's main process killed": _kill_main,
    "all workers killed": _kill_all_workers,
    "worker frozen": _freeze_worker,
    "worker stopped and started": _deploy,
    "API killed": _kill_api,
    "Redis down": _redis_down,
    "Redis flaps": _redis_flaps,
    "Redis frozen": _redis_frozen,
    "Redis emptied": _redis_empty,
    "Redis back without data": _redis_reborn,
    "messages doubled": _messages_doubled,
    "malformed messages": _messages_malformed,
    "PostgreSQL killed": _database_killed,
    "PostgreSQL restarted": _database_restarted,
    "PostgreSQL frozen": _database_frozen,
    "network to PostgreSQL": _network("database"),
    "network to Redis": _network("broker"),
}


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the service's processes and their database sessions take."""

    connections: int
    advisory_locks: int
    files: dict[str, int]
    memory_bytes: dict[str, int]
    processes: int


def footprint(soak: Soak) -> Footprint:
    """Measure the service; Redis' own clients and the tests' are not counted."""
    names = ("api", *WORKERS)
    mains = {name: psutil.Process(soak.lab.service.processes[name].pid) for name in names}
    connection = psycopg2.connect(soak.database.direct_url, connect_timeout=5)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^task-manager'"
            )
            (connections,) = cursor.fetchone() or (0,)
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            (locks,) = cursor.fetchone() or (0,)
    finally:
        connection.close()
    return Footprint(
        connections=connections,
        advisory_locks=locks,
        files={name: main.num_fds() for name, main in mains.items()},
        memory_bytes={name: main.memory_info().rss for name, main in mains.items()},
        processes=sum(1 + len(main.children(recursive=True)) for main in mains.values()),
    )


def survivors(ledger: str) -> list[psutil.Process]:
    """Return the processes that were started for this ledger and still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TEST_LEDGER") == ledger and processes.runs(process):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_until_idle(soak: Soak, seconds: float) -> None:
    """Wait until no message waits and the service is healthy."""

    def is_idle() -> bool:
        try:
            return soak.broker.waiting() == 0
        except redis.RedisError:
            return False

    wait_for(is_idle, seconds, "no message waits")
    wait_for(lambda: soak.lab.service._answers("/health"), seconds, "the service is healthy")
