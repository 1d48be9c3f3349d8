"""What the local run takes from the environment, and what it hands to the service."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from app.local.errors import LocalRunError

# The checkout, which every process of the service starts in.
PROJECT = Path(__file__).resolve().parents[2]

API_PORT = 8000
FLOWER_PORT = 5555
DATA_DIR = ".data"
SOFT_SHUTDOWN_SECONDS = 5.0  # The service's own default (app/settings.py).

# What make tells the programs that it starts would confuse a make in one of them.
_MAKES_OWN = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKE_TERMERR", "MAKE_TERMOUT"}


@dataclass(frozen=True, slots=True)
class Options:
    """The choices that a user has; a variable that is empty counts as not set."""

    api_port: int
    flower_port: int
    data_dir: Path
    database_url: str | None
    redis_url: str | None
    soft_shutdown_seconds: float

    @property
    def embedded(self) -> bool:
        """Whether at least one server is ours."""
        return self.database_url is None or self.redis_url is None


def read_options(environment: Mapping[str, str], dotenv: Path = PROJECT / ".env") -> Options:
    """Return the options that the environment sets, with the defaults for all others.

    What the worker takes as its own time to end, it may have from the file `dotenv`, too.

    Raises:
        LocalRunError: a value does not fit; the message names the variable.
    """
    options = Options(
        api_port=_port(environment, "API_PORT", API_PORT),
        flower_port=_port(environment, "FLOWER_PORT", FLOWER_PORT),
        # A relative one means the same folder wherever it is started from.
        data_dir=PROJECT / Path(environment.get("DATA_DIR") or DATA_DIR).expanduser(),
        database_url=environment.get("DATABASE_URL") or None,
        redis_url=environment.get("REDIS_URL") or None,
        soft_shutdown_seconds=_seconds(
            _settings_of(dotenv) | dict(environment), "SOFT_SHUTDOWN_SECONDS", SOFT_SHUTDOWN_SECONDS
        ),
    )
    if options.api_port == options.flower_port:
        raise LocalRunError(f"API_PORT and FLOWER_PORT are both {options.api_port}.")
    return options


def child_environment(
    environment: Mapping[str, str], database_url: str, redis_url: str
) -> dict[str, str]:
    """Return what the service's processes get: all that we got, and where the servers are."""
    kept = {name: value for name, value in environment.items() if name not in _MAKES_OWN}
    # Programs that a task's code starts by name are those of the virtual environment.
    programs = str(Path(sys.executable).parent)
    return kept | {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PATH": os.pathsep.join([programs, kept.get("PATH") or os.defpath]),
        "PYTHONUNBUFFERED": "1",  # Their lines reach the terminal when they are written.
    }


def _settings_of(dotenv: Path) -> dict[str, str]:
    """Return what the service's settings find in a file, where the case of names says nothing."""
    return {name.upper(): value for name, value in dotenv_values(dotenv).items() if value}


def _port(environment: Mapping[str, str], variable: str, default: int) -> int:
    value = environment.get(variable) or str(default)
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= 65_535):
        raise LocalRunError(f"{variable} must be a port number from 1 to 65535, not {value!r}.")
    return int(value)


def _seconds(environment: Mapping[str, str], variable: str, default: float) -> float:
    """Return a number of seconds; what is none is for the service's settings to complain about."""
    try:
        return float(environment.get(variable) or default)
    except ValueError:
        return default
