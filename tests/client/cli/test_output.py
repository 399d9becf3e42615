"""Sizes, ages and documents."""

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from rich.console import Console

from modelwire import JobStatus
from modelwire.cli.output import age, duration, plain, size, table


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (1 << 50, "1024.0 TiB")]
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0s"), (9.94, "9.9s"), (60, "60s"), (150, "2m"), (7200, "2h"), (86400 * 3, "3d"), (-1.0, "0.0s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_ages() -> None:
    assert age(None) == "-"
    assert age(datetime.now(UTC) - timedelta(hours=3)) == "3h"
    assert age(datetime.now(UTC) + timedelta(seconds=30)) == "0s"


def test_documents_are_json() -> None:
    @dataclass
    class Thing:
        status: JobStatus
        time: datetime
        _hidden: object = field(default_factory=object)

    moment = datetime(2024, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))
    values = [Thing(JobStatus.RUNNING, moment), float("nan"), Path("a"), {1: (True, None)}]
    assert plain(values) == [{"status": "running", "time": "2024-01-01T12:00:00Z"}, None, "a", {"1": [True, None]}]


def test_tables_show_brackets_and_never_cut_the_first_column() -> None:
    console = Console(file=io.StringIO(), width=40)
    console.print(table("id", ">age", "data…", rows=[("0" * 26, "5s", "[red]" + "x" * 40)]))
    head, row = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert head.split() == ["ID", "AGE", "DATA"]
    assert row.startswith("0" * 26)
    assert "[red]" in row
    assert "…" in row
