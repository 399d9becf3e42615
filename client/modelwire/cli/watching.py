"""Following a job to its end: a live line in a terminal, plain lines or JSON lines elsewhere."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelwire.cli.ends import Calm, ExitCode
from modelwire.cli.output import plain, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from modelwire import Event, Job


def follow(job: "Job[Any]", console: "Console", *, after: int = 0) -> None:
    """Shows the events of a job until it has ended. Raises Calm on Ctrl-C; the job goes on."""
    with display(job.id, console) as show:
        _each(job, after, show)


def follow_as_json(job: "Job[Any]", *, after: int = 0) -> None:
    """Prints each event as a line of JSON until the job has ended. Raises Calm on Ctrl-C."""
    _each(job, after, lambda event: write_json(event_document(event), line=True))


def follow_quietly(job: "Job[Any]") -> None:
    """Waits until the job has ended. Raises Calm on Ctrl-C."""
    _each(job, 0, lambda event: None)


def _each(job: "Job[Any]", after: int, show: "Callable[[Event], object]") -> None:
    try:
        for event in job.watch(after):
            show(event)
    except KeyboardInterrupt:
        raise Calm(
            f"You stopped watching; job {job.id} goes on.",
            hint=f"Come back with  modelwire jobs watch {job.id}\nStop it with    modelwire jobs cancel {job.id}",
            code=ExitCode.INTERRUPTED,
        ) from None
    job.refresh()


@contextmanager
def display(job_id: str, console: "Console") -> "Iterator[Callable[[Event], None]]":
    """A function that shows events: in a progress bar if the console is a terminal, else line by line."""
    from modelwire.progress import Bar, Lines

    shown = Bar(job_id, console) if console.is_terminal else Lines(job_id, console)
    try:
        yield shown.show
    finally:
        shown.close()


def event_document(event: "Event") -> dict[str, Any]:
    """An event as JSON: its fields and its kind (state, stage, progress, log, metric, artifact)."""
    return {"kind": type(event).__name__.removesuffix("Event").lower(), **plain(event)}
