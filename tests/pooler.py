"""PgBouncer in transaction mode in front of the tests' PostgreSQL.

No wheel brings it, so that the machine must have it. Where it is missing the tests marked `pooler`
are left out with a line that says so, but in continuous integration they fail (tests/conftest.py).
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.local.children import Child
from app.local.server_user import make_private, server_user
from app.local.waiting import wait_until
from tests.support import free_port

MISSING = "pgbouncer is not on this machine; to have it: apt-get install pgbouncer"
# So few that the service's connections have to share them.
SERVER_CONNECTIONS = 4


def program() -> str | None:
    """Return where PgBouncer is, or None. Debian puts it where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextmanager
def pooled(database_url: str) -> Iterator[str]:
    """Yield the URL of the same database behind a pooler of its own."""
    found = program()
    assert found, MISSING
    parts = urlsplit(database_url)
    port = free_port()
    # Not below pytest's folders, which PgBouncer's user may not enter: it refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    user = server_user(folder)
    make_private(folder, user)
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "plain",
        "auth_file": folder / "users",
        "pool_mode": "transaction",
        "default_pool_size": SERVER_CONNECTIONS,
        "max_client_conn": 500,
        "ignore_startup_parameters": "options",
        "log_connections": 0,
        "log_disconnections": 0,
    }
    server = f"host={parts.hostname} port={parts.port or 5432}"
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = {server}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in settings.items())
    )
    (folder / "users").write_text(f'"{parts.username}" "{unquote(parts.password or "")}"\n')
    for file in folder.iterdir():
        file.chmod(0o644)
    child = Child(
        "pgbouncer", [found, folder / "pgbouncer.ini"], folder=folder, environment={}, user=user
    )
    try:
        wait_until(lambda: _listens(port), 10, child)
        login = parts.netloc.rpartition("@")[0]
        yield parts._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
        child.ensure_alive()
    finally:
        child.kill()
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
