"""The documents at the project's root as data: headings, code blocks, tables, links."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.servers import ROOT

ENGLISH = ROOT / "README.md"
RUSSIAN = ROOT / "README.ru.md"

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    language: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table: the titles of its columns, and its rows as lists of cells."""

    columns: list[str]
    rows: list[list[str]]

    def first_column(self) -> list[str]:
        """Return the names that the rows are about, without their backticks."""
        return [row[0].strip("`") for row in self.rows]


def blocks(document: Path, *languages: str) -> list[Block]:
    """Return the blocks of code of these languages, or of any."""
    found = [
        Block(match["language"], match["text"].rstrip("\n"))
        for match in _FENCE.finditer(document.read_text(encoding="utf-8"))
    ]
    return [block for block in found if not languages or block.language in languages]


def commands(document: Path) -> list[str]:
    return [block.text for block in blocks(document, "bash")]


def prose(document: Path) -> str:
    """Return the text without its blocks of code."""
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


def heading_levels(document: Path) -> list[int]:
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(document), flags=re.MULTILINE)]


def tables(document: Path) -> list[Table]:
    found = re.findall(r"(?:^\|.*\|\n)+", prose(document), flags=re.MULTILINE)
    return [_table(lines.splitlines()) for lines in found]


def _table(lines: list[str]) -> Table:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return Table(cells[0], cells[2:])


def table_with(document: Path, name: str) -> Table:
    """Return the first table that has a row about this name."""
    return next(table for table in tables(document) if name in table.first_column())


def links(document: Path) -> list[str]:
    """Return the targets of all links that lead to files of the project."""
    targets = re.findall(r"]\(([^)\s]+)\)", prose(document))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(document: Path) -> set[str]:
    """Return the names by which GitHub links to the headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
