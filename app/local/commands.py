"""The service's documented commands, as the local run starts them."""

import sys

from app.local.ports import LOOPBACK

# Through this interpreter, not by the scripts' names: those are missing from the PATH when the
# virtual environment is not activated, and break when its folder is moved.
_PYTHON_MODULE = (sys.executable, "-m")


def migrate() -> list[str]:
    """Bring the database's schema up to date."""
    return [*_PYTHON_MODULE, "alembic", "upgrade", "head"]


def api(port: int) -> list[str]:
    """Serve HTTP, to this machine only."""
    return [*_PYTHON_MODULE, "uvicorn", "main:app", "--host", LOOPBACK, "--port", str(port)]


def worker() -> list[str]:
    """Run tasks."""
    return [*_celery(), "worker", "--loglevel=info"]


def flower(port: int) -> list[str]:
    """Show the workers, to this machine only."""
    return [*_celery(), "flower", f"--port={port}", f"--address={LOOPBACK}"]


def _celery() -> list[str]:
    return [*_PYTHON_MODULE, "celery", "-A", "app.worker.celery"]
