"""What the plots show, and who draws them: a Python of its own, with matplotlib in it."""

import json
import subprocess
from pathlib import Path

from benchmarks import against_peers, table_sizes
from benchmarks.load import Load
from benchmarks.measurements import BARE_ROUTE, CONNECTIONS, SERVICE, Bench
from benchmarks.peers import PEERS, python_of
from benchmarks.servers import ROOT

_CONNECTIONS = (1, 4, 16, 64, 256)
_SIZES = (1000, 10_000, 100_000, 1_000_000)
_DRAW = Path(__file__).with_name("draw.py")


def measure(bench: Bench) -> dict[str, dict[str, list[list[float]]]]:
    """Return the points of each curve of each plot."""
    posts = {"this service": _loads(bench, SERVICE), "the bare route": _loads(bench, BARE_ROUTE)}
    for peer in PEERS:
        if peer.is_durable or peer.name == "taskiq":
            kind = "durable" if peer.is_durable else "not durable"
            posts[f"{peer.name} ({kind})"] = {
                connections: against_peers.post(bench, peer, connections)
                for connections in _CONNECTIONS
            }
    return {
        "connections": {
            name: [[connections, each.rate] for connections, each in loads.items()]
            for name, loads in posts.items()
        },
        "latency": {
            name: [
                [float(percent), milliseconds]
                for percent, milliseconds in loads[CONNECTIONS].milliseconds.items()
            ]
            for name, loads in posts.items()
        },
        "sizes": table_sizes.rates_by_size(bench, _SIZES),
    }


def _loads(bench: Bench, app: str) -> dict[int, Load]:
    return {connections: bench.http(app, "post", connections) for connections in _CONNECTIONS}


def draw(points: dict[str, dict[str, list[list[float]]]], to: Path) -> None:
    """Draw all plots into one SVG file."""
    subprocess.run(
        [python_of("plots"), str(_DRAW), str(to)],
        cwd=ROOT,
        input=json.dumps(points),
        text=True,
        check=True,
        timeout=120,
    )
