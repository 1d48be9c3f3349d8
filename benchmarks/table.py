"""What the rounds came to: medians, spread, and a verdict for each row."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.rows import Pair, Row

NO_FIGURE = "failed"


@dataclass(frozen=True)
class Result:
    """A row's pairs, one for each round, and why a round has none."""

    row: Row
    pairs: tuple[Pair, ...]
    failures: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """The median of the ratios, pair by pair."""
        return statistics.median(pair.ratio for pair in self.pairs)

    @property
    def verdict(self) -> str:
        """`pass`, `pass, stretch`, `short`, `told` where nothing is asked, or `failed`.

        It failed if anything went wrong in any round.
        """
        if self.failures or not self.pairs:
            return NO_FIGURE
        if self.row.least == 0 and not self.row.passes(self.ratio, self.row.stretch):
            return "told"
        if self.row.passes(self.ratio, self.row.stretch):
            return "pass, stretch"
        return "pass" if self.row.passes(self.ratio, self.row.least) else "short"


_HEADINGS = ("what", "against", "ours", "theirs", "ratio (least to most)", "asked", "stretch", "")


def markdown(results: list[Result]) -> str:
    """Return the table."""
    lines = [_line(_HEADINGS), _line(["---"] * len(_HEADINGS))]
    for result in results:
        row = result.row
        sign = "at most" if row.at_most else "at least"
        figures = _figures(result) if result.verdict != NO_FIGURE else ("", "", "")
        asked = f"{sign} {row.least:g}" if row.least else "say it"
        lines.append(
            _line([row.what, row.against, *figures, asked, f"{row.stretch:g}", result.verdict])
        )
    lines += ["", *(f"{r.row.name}: {why}" for r in results for why in r.failures)]
    return "\n".join(lines).rstrip() + "\n"


_NOTES = {
    "peers": ("POST /tasks/ behind the same route, by peer", "requests/s", "{:,.0f}"),
    "pages": ("GET /tasks/ of 1,000,000 tasks against 1,000", "ratio", "{:.2f}"),
    "memory": ("Memory after 100,000 tasks against after 1,000", "ratio", "{:.3f}"),
}


def notes(found: dict[str, dict[str, list[float]]]) -> str:
    """Return a table of each subject of which more is known than its row shows."""
    lines = []
    for subject, figures in found.items():
        title, unit, form = _NOTES[subject]
        lines += ["", f"## {title}", "", _line(("", unit, "least to most")), _line(["---"] * 3)]
        for name, values in figures.items():
            spread = f"{form.format(min(values))} to {form.format(max(values))}"
            lines.append(_line((name, form.format(statistics.median(values)), spread)))
    return "\n".join(lines) + "\n" if lines else ""


def _figures(result: Result) -> tuple[str, str, str]:
    ratios = [pair.ratio for pair in result.pairs]
    unit = result.pairs[0].unit
    ours = statistics.median(pair.ours for pair in result.pairs)
    theirs = statistics.median(pair.theirs for pair in result.pairs)
    spread = f"{result.ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"{_short(ours)} {unit}", f"{_short(theirs)} {unit}", spread


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
