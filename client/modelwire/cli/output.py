"""What commands print: tables for people, JSON for programs, sizes and ages that can be read."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

# Wide enough that nothing is cut or wrapped where no terminal limits the width.
UNLIMITED = 1000

STATUS_STYLES = {
    "pending": "yellow",
    "running": "cyan",
    "completed": "green",
    "failed": "bold red",
    "canceled": "magenta",
    "serving": "green",
    "not_serving": "yellow",
    "unknown": "yellow",
    "error": "bold red",
    "warning": "yellow",
    "info": "cyan",
}


def console() -> "Console":
    """Standard output."""
    return _console(stderr=False)


def error_console() -> "Console":
    """Standard error: progress, hints and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    limited = file.isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, width=None if limited else UNLIMITED, highlight=False)


def write_json(document: Any, *, line: bool = False) -> None:
    """One JSON document to standard output; indented unless it is a `line` of many."""
    text = json.dumps(plain(document), ensure_ascii=False, indent=None if line else 2, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """The value as JSON knows it: dataclasses as objects, aware times as ISO 8601 in UTC, NaN as null."""
    match value:
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Enum():
            return value.value
        case float():
            return value if value - value == 0 else None
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case None | str() | int() | bool():
            return value
    if dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value) if not f.name.startswith("_")]
        return {name: plain(getattr(value, name)) for name in names}
    return str(value)


class Column(NamedTuple):
    """A column of a table: flush right, or cut where it would be wrapped."""

    title: str
    flush: bool = False
    cut: bool = False

    @classmethod
    def of(cls, text: str) -> Self:
        """`>age` is flush right, `data…` is cut."""
        return cls(text.removeprefix(">").removesuffix("…").upper(), flush=text.startswith(">"), cut=text.endswith("…"))


def table(*columns: str | Column, rows: Iterable[Sequence["RenderableType | None"]]) -> "RenderableType":
    """A table without lines. The first column is never cut or wrapped; names are written as Column.of reads them."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    read = [Column.of(column) if isinstance(column, str) else column for column in columns]
    for index, (title, flush, _) in enumerate(read):
        made.add_column(literal(title), justify="right" if flush else "left", no_wrap=index == 0 or flush, overflow="fold")
    for row in rows:
        made.add_row(*((cut if column.cut else literal)(cell) for column, cell in zip(read, row, strict=True)))
    return made


def cut(cell: "RenderableType | None") -> "RenderableType":
    """Text on one line, however narrow its column is."""
    from rich.text import Text

    return Text(str(cell or "-"), no_wrap=True, overflow="ellipsis")


def literal(cell: "RenderableType | None") -> "RenderableType":
    """Text as it is: square brackets of users are no markup."""
    from rich.text import Text

    return Text("-" if cell is None or cell == "" else cell) if cell is None or isinstance(cell, str) else cell


def card(fields: Mapping[str, "RenderableType | None"]) -> "RenderableType":
    """Names and values, a line each."""
    from rich.table import Table

    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in fields.items():
        made.add_row(name, literal(value))
    return made


def status_text(status: str) -> "Text":
    """A state in its colour."""
    from rich.text import Text

    return Text(status, style=STATUS_STYLES.get(status, ""))


def styled(text: str, style: str) -> "Text":
    """Text in a style, without markup."""
    from rich.text import Text

    return Text(text, style=style)


def size(count: int | None) -> str:
    """Bytes as people read them."""
    if count is None:
        return "-"
    if count < 1024:
        return f"{count} B"
    amount = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        amount /= 1024
        if amount < 1024 or unit == "TiB":
            break
    return f"{amount:.1f} {unit}"


def age(moment: datetime | None) -> str:
    """How long ago something was: `12s`, `5m`, `3h`, `4d`."""
    return "-" if moment is None else duration(max(0, round((datetime.now(UTC) - moment).total_seconds())))


def duration(seconds: float) -> str:
    """A stretch of time in its largest unit; tenths of short ones, unless they are whole numbers."""
    if seconds < 10:
        return f"{seconds}s" if isinstance(seconds, int) else f"{max(seconds, 0):.1f}s"
    for unit, length, until in (("s", 1, 120), ("m", 60, 120 * 60), ("h", 3600, 48 * 3600)):
        if seconds < until:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def number(value: float) -> str:
    """A number with so many digits as tell something."""
    return f"{value:.6g}"


def compact(value: Any) -> str:
    """A value on one line."""
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
