"""Puts load on an HTTP server with wrk, and takes no answer for granted."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("check.lua")


class Failed(Exception):
    """A measurement in which something went wrong, and which therefore has no figure."""


@dataclass(frozen=True)
class Load:
    """What came of it: right answers a second, and the percentiles of the time that they took."""

    right: int
    rate: float
    milliseconds: dict[str, float]


def check_wrk() -> None:
    """Pass if wrk is there. Raises Failed."""
    if shutil.which("wrk") is None:
        raise Failed("wrk is not on the PATH; on Debian and Ubuntu: apt-get install wrk")


def load(
    url: str, *, method: str, status: int, text: str, connections: int, seconds: float
) -> Load:
    """Send one request after another on each connection, and return what came of it.

    Raises Failed if any answer was not `status` with `text` in it, or did not come.
    """
    duration = f"{max(1, round(seconds))}s"
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{duration}", "--timeout=10s", "-s", str(_SCRIPT),
         url, "--", method, str(status), text],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )  # fmt: skip
    line = next((l for l in done.stdout.splitlines() if l.startswith("RESULT ")), None)
    if line is None:
        raise Failed(f"wrk said nothing of {url}: {done.stdout}{done.stderr}")
    result = json.loads(line.removeprefix("RESULT "))
    if result["wrong"] or result["failed"] or not result["right"]:
        counts = {name: result[name] for name in ("right", "wrong", "failed")}
        raise Failed(f"{method} {url}: answers were {counts}")
    return Load(result["right"], result["right"] / result["seconds"], result["milliseconds"])
