"""Shows how far a job is: a bar in a terminal or a notebook, plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelwire.events import Event, LogEvent, ProgressEvent, StageEvent, StateEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console


class Display(Protocol):
    """Something that is shown the events of a job."""

    def show(self, event: Event) -> None: ...
    def close(self) -> None: ...


class Bar:
    """A progress bar with the stage, the runner's words and its log lines above."""

    def __init__(self, job_id: str, console: Console) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
        self._progress = Progress(*columns, TextColumn("{task.fields[words]}", markup=False), console=console)
        self._task = self._progress.add_task(f"job {job_id[-6:]} queued", total=None, words="")
        self._name = f"job {job_id[-6:]}"
        self._progress.start()

    def show(self, event: Event) -> None:
        """Brings the bar up to date."""
        match event:
            case StageEvent(stage=stage):
                self._progress.update(self._task, description=f"{self._name} {stage}")
            case StateEvent(status=status):
                self._progress.update(self._task, description=f"{self._name} {status}")
            case ProgressEvent(fraction=fraction, message=message):
                self._progress.update(self._task, total=1.0, completed=fraction, words=message)
            case LogEvent(text=text):
                self._progress.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._progress.stop()


class Lines:
    """A line for each change of state or stage, and for each tenth of the way."""

    def __init__(self, job_id: str, console: Console) -> None:
        self._job_id = job_id
        self._console = console
        self._tenths = -1

    def show(self, event: Event) -> None:
        """Writes a line if there is something new to say."""
        match event:
            case StageEvent(stage=stage):
                self._write(stage)
            case StateEvent(status=status, message=message):
                self._write(f"{status}: {message}" if message else str(status))
            case ProgressEvent(fraction=fraction, message=message) if int(fraction * 10) > self._tenths:
                self._tenths = int(fraction * 10)
                self._write(f"{fraction:.0%} {message}".rstrip())
            case LogEvent(text=text):
                self._write(f"| {text}")

    def _write(self, text: str) -> None:
        self._console.print(f"job {self._job_id}: {text}", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is open."""


class Called:
    """Hands each event to a function."""

    def __init__(self, function: Callable[[Event], object]) -> None:
        self._function = function

    def show(self, event: Event) -> None:
        """Calls the function."""
        self._function(event)

    def close(self) -> None:
        """Nothing is open."""


def open_display(progress: bool | Callable[[Event], object], job_id: str) -> Display | None:
    """What `progress=` of Job.wait asks for; None for False. Shows on standard error, or in the notebook."""
    if callable(progress):
        return Called(progress)
    if not progress:
        return None
    from rich.console import Console

    console = Console(stderr=True)
    return Bar(job_id, console) if console.is_terminal or console.is_jupyter else Lines(job_id, console)
