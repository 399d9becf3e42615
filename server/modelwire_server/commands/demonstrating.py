"""`modelwire demo`."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from modelwire.cli.command import Json, style, wants_json
from modelwire.cli.ends import ExitCode, Stop

from .needs import PANEL, require, server_packages


@style(PANEL, "modelwire demo", "modelwire demo --keep", "modelwire demo --json | jq .error")
def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running until Ctrl-C, to try things out.")] = False,
    json: Json = False,
) -> None:
    """Show it all in a few seconds: serve a model, train it on real data, predict what it never saw, and measure.

    Everything happens on free ports of this machine and in a temporary folder; nothing is left behind.
    """
    as_json = wants_json(context, json)
    for module in ("sklearn", "pandas"):
        require(module)
    from ..scaffold import example

    if not example().is_file():
        raise Stop(f"the example {example()} is missing", hint="Install modelwire anew.", code=ExitCode.FAILED)
    with server_packages():
        from .tour import keep_serving, show, take
    with ending_in_good_order(), tempfile.TemporaryDirectory(prefix="modelwire-demo-") as folder:
        from .neighbour import Neighbour

        with Neighbour(example(), Path(folder)) as server:
            result = take(server, as_json=as_json)
            show(result, as_json=as_json)
            if keep:
                keep_serving(server, result)


@contextmanager
def ending_in_good_order() -> Iterator[None]:
    """SIGTERM and SIGHUP end the program as Ctrl-C does: the server is stopped first."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
