"""Prints what `benchmarks.scaling` has measured, as Markdown."""

import statistics
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def median(values: Iterable[float]) -> float:
    """Return the middle one."""
    return float(statistics.median(values))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table of Markdown."""
    lines: list[Sequence[Any]] = [head, ["---"] * len(head), *rows]
    for line in lines:
        say("| " + " | ".join(_shown(cell) for cell in line) + " |")


def _shown(cell: Any) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"


def say(line: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
