"""The measured figure of each bound: printed, and kept in a file where one is named."""

import os
from pathlib import Path


def figure(name: str, seconds: float) -> None:
    """Print how long something took; also append it to the file that FAULT_FIGURES names."""
    line = f"FIGURE {name}: {seconds:.2f} s"
    print(line)
    kept = os.environ.get("FAULT_FIGURES")
    if kept:
        with Path(kept).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
