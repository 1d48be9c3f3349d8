"""`python -m app.local.install FILE ...`: the virtual environment, with what the files require.

Owns `.venv`. Does nothing, and needs no network, while the files are as they were at the last
installation. Runs on any Python that is to be the environment's; prints one line on failure.
"""

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from app.local.environment import PROJECT
from app.local.errors import LocalRunError

VENV = PROJECT / ".venv"
PYTHON = VENV / "bin" / "python"
# Holds one line for each requirements file that is installed: its hash and name.
STAMP = VENV / ".installed"


def install(names: Sequence[str]) -> None:
    """Make sure that the environment has what the requirements files name.

    Raises:
        LocalRunError: there can be no environment, or a package could not be installed.
    """
    wanted = {_stamp_line(name) for name in names}
    if not _works():
        _create()
    installed = set(_read_stamp())
    if wanted <= installed:
        return
    print(f"Installing {', '.join(names)} into .venv (at first, this takes a minute)", flush=True)
    STAMP.unlink(missing_ok=True)  # Until it is done, nothing counts as installed.
    _pip(names)
    # What is installed now may have changed packages of a file that has changed meanwhile.
    kept = {line for line in installed if line in _current_lines()}
    STAMP.write_text("\n".join(sorted(wanted | kept)) + "\n", encoding="utf-8")


def _works() -> bool:
    """Tell whether the environment's Python starts, and is the one that it was made for."""
    if not PYTHON.exists():
        return False
    # After an upgrade of the system's Python the packages lie where the new one does not look.
    check = "import sys; sys.exit(not any(path.endswith('site-packages') for path in sys.path))"
    return _run(PYTHON, "-c", check, quiet=True)


def _create() -> None:
    if importlib.util.find_spec("ensurepip") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise LocalRunError(
            f"{sys.executable} cannot make virtual environments; "
            f"on Debian and Ubuntu: apt install python{version}-venv"
        )
    print(f"Creating .venv with {sys.executable}", flush=True)
    if not _run(sys.executable, "-m", "venv", "--clear", VENV):
        raise LocalRunError(f"The virtual environment could not be made in {VENV}.")


def _pip(names: Sequence[str]) -> None:
    if not _run(PYTHON, "-c", "import pip", quiet=True):
        # Made by another tool, such as uv.
        _run(PYTHON, "-m", "ensurepip", quiet=True)
    files = [argument for name in names for argument in ("-r", name)]
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    if not _run(PYTHON, "-m", "pip", "install", *options, *files):
        raise LocalRunError(
            "pip could not install the packages (its messages are above). Is there a network?"
        )


def _run(*command: str | Path, quiet: bool = False) -> bool:
    """Run a command in the project's folder, and tell whether it succeeded."""
    output = subprocess.DEVNULL if quiet else None
    return (
        subprocess.run(
            command,
            cwd=PROJECT,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ).returncode
        == 0
    )


def _read_stamp() -> list[str]:
    return STAMP.read_text(encoding="utf-8").splitlines() if STAMP.exists() else []


def _stamp_line(name: str) -> str:
    return f"{hashlib.sha256((PROJECT / name).read_bytes()).hexdigest()}  {name}"


def _current_lines() -> set[str]:
    return {_stamp_line(path.name) for path in PROJECT.glob("requirements*.txt")}


def main(names: list[str]) -> int:
    """Install, and return the exit code."""
    try:
        install(names)
    except LocalRunError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # Another user's checkout or environment, or a disk that is full.
        print(f"Error: .venv cannot be used or made: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
