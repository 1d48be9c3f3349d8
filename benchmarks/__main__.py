"""`python -m benchmarks`: measures, prints the table, and writes the report.

--quick            a developer's loop: one short round of the rows that fit into two minutes
--rows post,get    only these rows
--rounds N         so many rounds; 5 unless said otherwise
--out FILE         where the report goes, and beside it the plots, as .svg; by default
                   docs/benchmarks.md, and nowhere if --quick or --rows is given
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import curves
from benchmarks.load import Failed, check_wrk
from benchmarks.machine import about
from benchmarks.measurements import Bench
from benchmarks.rows import ROWS, Row
from benchmarks.servers import ROOT, servers
from benchmarks.table import Result, markdown, notes

_QUICK = ("post", "post-p99", "run", "get", "page")


def main() -> int:
    """Run, and return the exit code: 1 if a measurement failed, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", default="")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    names = given.rows.split(",") if given.rows else list(_QUICK if given.quick else [])
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    rows = [row for row in ROWS if row.name in names or not names]
    rounds = given.rounds or (1 if given.quick else 5)
    out = given.out or (None if given.quick or names else ROOT / "docs/benchmarks.md")
    try:
        check_wrk()
        text, is_right = _measure(rows, rounds, out and out.with_suffix(".svg"), quick=given.quick)
    except Failed as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")
        print(f"Written to {out}")
    return 0 if is_right else 1


def _measure(rows: list[Row], rounds: int, plots: Path | None, *, quick: bool) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory(prefix="task-manager-bench-") as name:
        folder = Path(name)
        with servers(folder) as started:
            facts = started.describe()
            seconds, tasks = (3.0, 3000) if quick else (8.0, 10_000)
            bench = Bench(started, folder, seconds, tasks)
            results = []
            for row in rows:
                pairs, failures = [], []
                for number in range(min(rounds, row.most_rounds or rounds)):
                    try:
                        pair = row.measure(bench)
                    except (Failed, TimeoutError) as error:
                        failures.append(f"round {number + 1}: {error}")
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
    text = about(facts, rounds=rounds, seconds=seconds, tasks=tasks, quick=quick)
    text += markdown(results) + notes(bench.notes)
    if plots is not None:
        text += f"\n![Plots of rates and latencies]({plots.name})\n"
    return text, all(not result.failures for result in results)


if __name__ == "__main__":
    sys.exit(main())
