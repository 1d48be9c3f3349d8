"""Other task queues for Python, each behind the same route as the bare one.

Each lives in a virtual environment of its own below .cache/bench, installed when it is first
measured; the service itself needs none of them.
"""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# The peers' own environments import this too, and have none of the service's packages.
_ROOT = Path(__file__).resolve().parents[2]
_REQUIREMENTS = Path(__file__).with_name("requirements")
_INSTALL_SECONDS = 600


@dataclass(frozen=True)
class Peer:
    """One of them. `stored` counts what it has accepted: SQL, or a Redis command with its key.

    `ended` counts in SQL the tasks that were run to their end, once; empty where runs are not
    measured.
    """

    name: str
    is_durable: bool
    stored: str
    ended: str = ""
    worker: tuple[str, ...] = ()

    @property
    def app(self) -> str:
        """The ASGI application with the route."""
        return f"benchmarks.peers.with_{self.name}:app"

    @property
    def module(self) -> str:
        """What `python -m` runs for its errands."""
        return self.app.partition(":")[0]


PEERS = (
    Peer(
        "procrastinate",
        True,
        "SELECT count(*) FROM procrastinate_jobs",
        "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded' AND attempts = 1",
        ("procrastinate", "--app=benchmarks.peers.with_procrastinate.queue", "worker", "-c", "1"),
    ),
    Peer(
        "pgqueuer",
        True,
        "SELECT count(*) FROM pgqueuer",
        "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'",
        ("benchmarks.peers.with_pgqueuer", "work", "0"),
    ),
    Peer("taskiq", False, "LLEN taskiq"),
    Peer("arq", False, "ZCARD arq:queue"),
    Peer("dramatiq", False, "LLEN dramatiq:default"),
    Peer("rq", False, "LLEN rq:queue:default"),
    Peer("huey", False, "LLEN huey.redis.bench"),
)


def python_of(name: str) -> str:
    """Return the Python of an environment with what `requirements/NAME.txt` names.

    Raises subprocess.CalledProcessError with pip's words if it cannot be installed.
    """
    wanted = (_REQUIREMENTS / f"{name}.txt").read_bytes()
    folder = _ROOT / ".cache/bench" / name
    python, mark = folder / "bin/python", folder / "installed"
    digest = hashlib.sha256(wanted + sys.version.encode()).hexdigest()
    if not mark.exists() or mark.read_text() != digest:
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r",
             str(_REQUIREMENTS / f"{name}.txt")],
        ):  # fmt: skip
            subprocess.run(command, check=True, timeout=_INSTALL_SECONDS, capture_output=True)
        mark.write_text(digest)
    return str(python)


def version_of(name: str) -> str:
    """Return the version of a package that is pinned."""
    lines = (_REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return next(l.partition("==")[2] for l in lines if l.startswith(f"{name}=="))
