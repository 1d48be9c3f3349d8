"""The benchmark's verdicts: pair by pair, and never a figure where something went wrong."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import load
from benchmarks.rows import ROWS, Pair, Row
from benchmarks.table import Result, markdown


def row(*, at_most: bool = False) -> Row:
    return Row("x", "ours", "theirs", 3 if at_most else 0.5, 2 if at_most else 0.65, None, at_most)


def pairs(*ratios: float) -> tuple[Pair, ...]:
    # The machine is twice as fast in each next round; a ratio knows nothing of that.
    return tuple(Pair(ratio * 2**n, 2**n, "ms") for n, ratio in enumerate(ratios))


@pytest.mark.parametrize(
    ("ratios", "at_most", "verdict"),
    [
        ((0.4, 0.49, 0.9), False, "short"),
        ((0.4, 0.5, 0.9), False, "pass"),
        ((0.7, 0.65, 0.1), False, "pass, stretch"),
        ((3.1, 1.0, 3.1), True, "short"),
        ((3.0, 3.0, 9.0), True, "pass"),
        ((1.9, 2.0, 9.0), True, "pass, stretch"),
    ],
)
def test_the_median_of_the_rounds_ratios_is_held_against_what_is_asked(
    ratios: tuple[float, ...], at_most: bool, verdict: str
) -> None:
    result = Result(row(at_most=at_most), pairs(*ratios))
    assert result.verdict == verdict
    assert f"{sorted(ratios)[1]:.2f} ({min(ratios):.2f} to {max(ratios):.2f})" in markdown([result])


@pytest.mark.parametrize("good", [pairs(9.0, 9.0), ()])
def test_a_row_in_which_anything_failed_has_no_figure(good: tuple[Pair, ...]) -> None:
    result = Result(row(), good, ("round 2: 3 answers were wrong",))
    assert result.verdict == "failed"
    text = markdown([result])
    assert "9.00" not in text
    assert "3 answers were wrong" in text


@pytest.mark.parametrize(
    "said",
    ['"right": 10, "wrong": 1, "failed": 0', '"right": 10, "wrong": 0, "failed": 1',
     '"right": 0, "wrong": 0, "failed": 0'],
)  # fmt: skip
def test_one_wrong_or_missing_answer_spoils_a_measurement(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = f'\nRESULT {{{said}, "seconds": 1.0, "milliseconds": {{"50": 1.0}}}}\n'
    done = subprocess.CompletedProcess([], 0, output, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(load.Failed, match="answers were"):
        load.load("http://x/", method="GET", status=200, text="", connections=1, seconds=1)


def test_without_wrk_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(load.Failed, match="apt-get install wrk"):
        load.check_wrk()


def test_rows_have_names_of_their_own() -> None:
    assert len({each.name for each in ROWS}) == len(ROWS)
