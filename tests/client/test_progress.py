from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from modelwire import Event, JobStatus, LogEvent, ProgressEvent, StageEvent, StateEvent
from modelwire.progress import Bar, Called, Lines, open_display

COMMON: dict[str, Any] = {"job_id": "01JABCDEF", "sequence": 1, "time": datetime(2026, 1, 1, tzinfo=UTC)}


def state(status: str, message: str = "") -> StateEvent:
    return StateEvent(status=JobStatus(status), reason="", message=message, stage="", attempt=1, **COMMON)


def progress(fraction: float, message: str = "") -> ProgressEvent:
    return ProgressEvent(fraction=fraction, message=message, **COMMON)


EVENTS: list[Event] = [
    state("running"),
    StageEvent(stage="training", **COMMON),
    *(progress(step / 100, f"[epoch {step}]") for step in range(0, 101, 5)),
    LogEvent(source="stdout", level="", logger="", text="[bold]as it is[/bold]", **COMMON),
    state("failed", "ValueError: no"),
]


def shown(kind: type[Bar] | type[Lines], terminal: bool) -> str:
    console = Console(file=StringIO(), force_terminal=terminal, width=120, color_system=None)
    display = kind("01JABCDEF", console)
    for event in EVENTS:
        display.show(event)
    display.close()
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_lines_tell_each_tenth_once() -> None:
    lines = shown(Lines, terminal=False).splitlines()
    assert lines[0] == "job 01JABCDEF: running"
    assert lines[1] == "job 01JABCDEF: training"
    assert [line for line in lines if "%" in line] == [f"job 01JABCDEF: {n}% [epoch {n}]" for n in range(0, 101, 10)]
    assert lines[-2] == "job 01JABCDEF: | [bold]as it is[/bold]"
    assert lines[-1] == "job 01JABCDEF: failed: ValueError: no"


def test_a_bar_shows_stage_words_and_log() -> None:
    text = shown(Bar, terminal=True)
    assert "[bold]as it is[/bold]" in text
    assert "100%" in text
    assert "[epoch 100]" in text
    assert "ABCDEF failed" in text


def test_a_function_is_called_with_each_event() -> None:
    seen: list[Event] = []
    display = open_display(seen.append, "J")
    assert isinstance(display, Called)
    for event in EVENTS:
        display.show(event)
    assert seen == EVENTS


def test_nothing_is_shown_unasked() -> None:
    assert open_display(False, "J") is None


@pytest.mark.parametrize(("terminal", "kind"), [("1", Bar), ("0", Lines)])
def test_the_display_fits_the_place(monkeypatch: pytest.MonkeyPatch, terminal: str, kind: type) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", terminal)
    display = open_display(True, "J")
    assert isinstance(display, kind)
    assert display is not None
    display.close()
