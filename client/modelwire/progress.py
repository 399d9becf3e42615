"""Shows how far a job is: a bar in a terminal or a notebook, plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelwire.events import Event, JobStatus, LogEvent, MetricEvent, ProgressEvent, StageEvent, StateEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console


class Display(Protocol):
    """Something that is shown the events of a job."""

    def show(self, event: Event) -> None: ...
    def close(self) -> None: ...


class Words:
    """What the runner said last: a message, and the last value of each metric."""

    def __init__(self) -> None:
        self._message = ""
        self._metrics: dict[str, float] = {}

    def take(self, event: ProgressEvent | MetricEvent) -> None:
        """Remembers."""
        match event:
            case ProgressEvent(message=message):
                self._message = message
            case MetricEvent(name=name, value=value):
                self._metrics[name] = value

    def __str__(self) -> str:
        return "  ".join([*([self._message] if self._message else []), self.metrics()])

    def metrics(self) -> str:
        """The metrics alone."""
        return "  ".join(f"{name} {value:.4g}" for name, value in self._metrics.items())


class Bar:
    """A progress bar with the stage, the runner's words and metrics, and its log lines above."""

    def __init__(self, job_id: str, console: Console) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
        words = TextColumn("{task.fields[words]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        self._progress = Progress(*columns, words, console=console)
        self._words = Words()
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
                if status is JobStatus.COMPLETED:
                    self._progress.update(self._task, total=1.0, completed=1.0)
            case ProgressEvent(fraction=fraction):
                self._words.take(event)
                self._progress.update(self._task, total=1.0, completed=fraction, words=str(self._words))
            case MetricEvent():
                self._words.take(event)
                self._progress.update(self._task, words=str(self._words))
            case LogEvent(text=text):
                self._progress.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._progress.stop()


class Lines:
    """A line for each change of state or stage, and for each tenth of the way; the last metrics at the end."""

    def __init__(self, job_id: str, console: Console) -> None:
        self._job_id = job_id
        self._console = console
        self._tenths = -1
        self._words = Words()

    def show(self, event: Event) -> None:
        """Writes a line if there is something new to say."""
        match event:
            case StageEvent(stage=stage):
                self._write(stage)
            case StateEvent(status=status, message=message):
                told = message or (self._words.metrics() if status.is_final else "")
                self._write(f"{status}: {told}" if told else str(status))
            case ProgressEvent(fraction=fraction):
                self._words.take(event)
                self._progressed(int(fraction * 10), f"{fraction:.0%} {self._words}")
            case MetricEvent():
                self._words.take(event)
            case LogEvent(text=text):
                self._write(f"| {text}")

    def _progressed(self, tenths: int, text: str) -> None:
        if tenths > self._tenths:
            self._tenths = tenths
            self._write(text.rstrip())

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
