"""How far long work is, on standard error where that is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelwire.cli.output import error_console


@contextmanager
def reported(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A function to tell what is being done, and how much is done of how much; a bar for each kind of work."""
    console = error_console()
    if quiet or not console.is_terminal:
        yield lambda what, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    bars: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:

        def report(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what)
            progress.update(bars[what], completed=done, total=total)

        yield report
