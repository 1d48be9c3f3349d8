"""`python draw.py FILE.svg`: draws the points that come as JSON on standard input.

Run by a Python that has matplotlib, and nothing of this project.
"""

import json
import sys
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

# The same points make the same file.
mpl.rcParams.update({"svg.hashsalt": "benchmarks", "font.size": 9, "axes.grid": True})
points = json.load(sys.stdin)
figure, (connections, latency, sizes) = pyplot.subplots(1, 3, figsize=(15, 4.6))


def lines(axes: Any, plot: str, title: str, x: str, y: str) -> None:
    """Draw one plot's curves."""
    for name, curve in points[plot].items():
        axes.plot(*zip(*curve, strict=True), marker="o", markersize=4, label=name)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.legend(fontsize=8)


lines(connections, "connections", "POST /tasks/ by connections", "connections", "requests a second")
connections.set_ylim(bottom=0)
connections.set_xscale("log", base=2)
ticks = [x for x, _ in next(iter(points["connections"].values()))]
connections.set_xticks(ticks, [f"{x:g}" for x in ticks])

# By the share of requests that took longer, so that the tail has its room.
for curve in points["latency"].values():
    for point in curve:
        point[0] = 100 - point[0]
lines(latency, "latency", "POST latency, 16 connections", "percentile", "milliseconds")
latency.set(xscale="log", yscale="log")
latency.invert_xaxis()
ticks = [x for x, _ in next(iter(points["latency"].values()))]
latency.set_xticks(ticks, [f"p{100 - x:g}" for x in ticks])
latency.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
latency.minorticks_off()

lines(sizes, "sizes", "Rate by tasks in the table", "tasks in the table", "requests a second")
sizes.set_ylim(bottom=0)
sizes.set_xscale("log")

figure.tight_layout()
figure.savefig(sys.argv[1], metadata={"Date": None})
