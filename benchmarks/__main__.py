"""`python -m benchmarks`: measures, prints the table, and writes the report.

--quick            a developer's loop: one short round of the rows that fit into two minutes
--rows post,get    only these rows
--rounds N         so many rounds; 3 unless said otherwise
--seconds S        how long each load is; 5 unless said otherwise
--tasks N          how many tasks are run for a rate; 5,000 unless said otherwise
--out FILE         where the report goes, and beside it the plots, as .svg; by default
                   docs/benchmarks.md, and nowhere if --quick or --rows is given
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import curves
from benchmarks.load import Failed, check_wrk
from benchmarks.machine import about
from benchmarks.measurements import Bench
from benchmarks.rows import ROWS, Row
from benchmarks.servers import ROOT, servers
from benchmarks.table import Result, markdown, notes

_QUICK = ("post", "post-p99", "run", "get", "page")


@dataclass(frozen=True)
class _Size:
    """How often each row is measured, how long each load is, and how many tasks are run."""

    rounds: int
    seconds: float
    tasks: int


def main() -> int:
    """Run, and return the exit code: 1 if a measurement failed, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", default="")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    names = given.rows.split(",") if given.rows else list(_QUICK if given.quick else [])
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    rows = [row for row in ROWS if row.name in names or not names]
    usual = _Size(1, 3.0, 3000) if given.quick else _Size(3, 5.0, 5000)
    size = _Size(
        given.rounds or usual.rounds, given.seconds or usual.seconds, given.tasks or usual.tasks
    )
    out = given.out or (None if given.quick or names else ROOT / "docs/benchmarks.md")
    try:
        check_wrk()
        plots = None if names or out is None else out.with_suffix(".svg")
        text, is_right = _measure(rows, size, plots, quick=given.quick)
    except Failed as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")
        print(f"Written to {out}")
    return 0 if is_right else 1


def _measure(rows: list[Row], size: _Size, plots: Path | None, *, quick: bool) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory(prefix="task-manager-bench-") as name:
        folder = Path(name)
        with servers(folder) as started:
            facts = started.describe()
            bench = Bench(started, folder, size.seconds, size.tasks)
            results = []
            for row in rows:
                pairs, failures = [], []
                for number in range(min(size.rounds, row.most_rounds or size.rounds)):
                    try:
                        pair = row.measure(bench)
                    except Exception as error:
                        # Whatever it is, hours of other rows are not lost for it.
                        failures.append(f"round {number + 1}: {error!r}")
                        print(f"{row.name}: FAILED: {error}", flush=True)
                        continue
                    pairs.append(pair)
                    print(
                        f"{row.name}: {pair.ours:.2f} against {pair.theirs:.2f} {pair.unit}:"
                        f" {pair.ratio:.3f}",
                        flush=True,
                    )
                results.append(Result(row, tuple(pairs), tuple(failures)))
            if plots is not None:
                curves.draw(curves.measure(bench), plots)
    text = about(facts, rounds=size.rounds, seconds=size.seconds, tasks=size.tasks, quick=quick)
    text += markdown(results) + notes(bench.notes)
    if plots is not None:
        text += f"\n![Plots of rates and latencies]({plots.name})\n"
    return text, all(not result.failures for result in results)


if __name__ == "__main__":
    sys.exit(main())
