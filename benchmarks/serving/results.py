"""Tables on the screen, and the page of results, which is made of what the scenarios wrote and never by hand."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .machine import facts, today

FOLDER = Path(__file__).parents[1] / "results"
PAGE = Path(__file__).parents[1] / "RESULTS.md"


@dataclass(frozen=True)
class Figures:
    """A table: what the lines and columns are, and what is in them."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one scenario found: tables, and sentences on them."""

    name: str
    title: str
    # How it was measured.
    how: str
    tables: Sequence[Figures]
    notes: Sequence[str] = ()
    # The load average of the machine before it began.
    busy: float
    # The share of the cores' time that the host took for others while figures were measured, in the middle and at most.
    taken: Sequence[float] = ()
    date: str = field(default_factory=today)
    machine: str = field(default_factory=facts)


def show(section: Section) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.rule(section.title)
    for figures in _filled(section):
        table = Table()
        for number, column in enumerate(figures.columns):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in figures.rows:
            table.add_row(*row)
        console.print(table)
    for note in section.notes:
        console.print(f"- {note}", highlight=False)


def write(section: Section, order: Sequence[str]) -> None:
    """Keeps a section, and makes the page anew from all that are kept."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{section.name}.json").write_text(json.dumps(asdict(section), indent=1) + "\n")
    kept = [FOLDER / f"{name}.json" for name in order]
    sections = [_read(path) for path in kept if path.exists()]
    PAGE.write_text(HEAD + "\n".join(_page_of(section) for section in sections))


HEAD = """# Results of the serving benchmarks

Written by `make bench`; not to be edited. What is measured and how to repeat it is told in [README.md](README.md). Every figure is the
median of the rounds unless its column says otherwise.

"""


def _read(path: Path) -> Section:
    content = json.loads(path.read_text())
    return Section(**{**content, "tables": [Figures(**one) for one in content["tables"]]})


def _page_of(section: Section) -> str:
    lines = [
        f"## {section.title}",
        "",
        section.how,
        "",
        f"{section.date}; {section.machine}; load average {section.busy:.1f} before{_taken(section)}.",
        "",
    ]
    for figures in _filled(section):
        lines += [_line(figures.columns), "|---|" + "---:|" * (len(figures.columns) - 1), *(_line(row) for row in figures.rows), ""]
    lines += [f"- {note}" for note in section.notes] + ([""] if section.notes else [])
    return "\n".join(lines)


def _taken(section: Section) -> str:
    if not section.taken:
        return ""
    middle, most = section.taken
    return f"; of the cores' time the host took {middle:.1%} for others while a figure was measured, {most:.1%} at most"


def _filled(section: Section) -> list[Figures]:
    """Without what had nothing to compare."""
    return [figures for figures in section.tables if figures.rows]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
