"""Importing the modules that define task types. One that cannot be imported ends the program."""

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType

from app.domain.text import one_line

_REASON_LIMIT = 500
# Where the standard library and installed packages are.
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
_OURS = {"app.handlers.registry", "app.handlers.payloads", "app.handlers.concealment", __name__}


def import_or_exit(name: str) -> ModuleType:
    """Import a module; end the program, with one line that says why, if that is not possible."""
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        # Somebody does not want to wait for it.
        raise
    except BaseException as error:
        reason = one_line(_reason(name, error), _REASON_LIMIT)
        where = _place(name, error)
        sys.exit(f"The task module {name} cannot be imported: {reason}{where}")


def _reason(name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in {name, name.partition(".")[0]}:
        return f"there is no module {error.name}; is its folder in PYTHONPATH?"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}"


def _place(name: str, error: BaseException) -> str:
    """Return the file and line that a user would mend, as far as it is known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    places = [
        (frame.f_code.co_filename, line, frame.f_globals.get("__name__"))
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    theirs = [
        (file, line)
        for file, line, module in places
        if module not in _OURS and Path(file).is_file() and not _is_library(file)
    ]
    # A module that was installed as a package is in a library's place itself.
    theirs = theirs or [(file, line) for file, line, module in places if module == name]
    if theirs:
        return " ({}, line {})".format(*theirs[-1])
    file = _file_of(name)
    return f" ({file})" if file else ""


def _is_library(file: str) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in _LIBRARIES)


def _file_of(name: str) -> str | None:
    """Return a module's file without importing it; one inside a package is not looked for."""
    try:
        found = None if "." in name else importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return found.origin if found else None
