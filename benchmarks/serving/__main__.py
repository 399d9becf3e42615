"""`python -m benchmarks.serving`: modelwire beside other servers. `--help` tells how to run a part of it."""

from typing import Annotated

import typer
from rich.console import Console

from .environment import install
from .load import build
from .machine import BENCH
from .peer import Peer
from .peers import ALL
from .results import Section, show, write
from .scenarios import Plan, Scenario
from .scenarios.frames import frames
from .scenarios.killed import killed
from .scenarios.neighbours import neighbours
from .scenarios.overload import overload
from .scenarios.soak import soak
from .scenarios.streams import streams
from .scenarios.unary import unary

SCENARIOS: dict[str, Scenario] = {
    "unary": unary,
    "streams": streams,
    "frames": frames,
    "neighbours": neighbours,
    "overload": overload,
    "killed": killed,
}
# The order of the page of results.
SECTIONS = [*SCENARIOS, "soak"]

program = typer.Typer(add_completion=False, no_args_is_help=False)


@program.command()
def bench(
    only: Annotated[str, typer.Option(help=f"Scenarios, with commas between: {', '.join(SCENARIOS)}.")] = "",
    peers: Annotated[str, typer.Option(help=f"Servers, with commas between: {', '.join(peer.key for peer in ALL)}.")] = "",
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="What is measured for each figure.")] = 3.0,
    warm_up: Annotated[float, typer.Option(help="What goes before.")] = 1.0,
    record: Annotated[bool, typer.Option(help="Write benchmarks/RESULTS.md.")] = False,
) -> None:
    """Measure, show the tables, and with --record write them down."""
    BENCH.mkdir(exist_ok=True)
    build()
    plan = Plan(peers=_chosen(peers), rounds=rounds, seconds=seconds, warm_up=warm_up)
    names = _names(only) or list(SCENARIOS)
    if unknown := set(names) - set(SCENARIOS):
        raise typer.BadParameter(f"there is no scenario {', '.join(unknown)}")
    for name in names:
        _tell(SCENARIOS[name](plan), record)


@program.command("soak")
def soak_server(
    minutes: Annotated[float, typer.Option(help="How long.")] = 30.0,
    reloads: Annotated[int, typer.Option(help="How many models are reloaded meanwhile.")] = 1000,
    record: Annotated[bool, typer.Option(help="Write benchmarks/RESULTS.md.")] = False,
) -> None:
    """See whether memory grows."""
    BENCH.mkdir(exist_ok=True)
    build()
    _tell(soak(minutes, reloads), record)


@program.command("install")
def install_peers(peers: Annotated[str, typer.Option(help="Which; all if empty.")] = "") -> None:
    """Make the environments of the peers, one after the other."""
    BENCH.mkdir(exist_ok=True)
    for environment in dict.fromkeys(peer.environment for peer in _chosen(peers) if peer.environment):
        trouble = install(environment)
        Console().print(f"{environment}: {trouble or 'installed'}", highlight=False)


def _tell(section: Section, record: bool) -> None:
    show(section)
    if record:
        write(section, SECTIONS)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _chosen(text: str) -> list[Peer]:
    """The servers of these names. What is no name stands for all that begin so. Raises BadParameter."""
    chosen: list[Peer] = []
    for name in _names(text):
        found = [peer for peer in ALL if peer.key == name] or [peer for peer in ALL if peer.key.startswith(name)]
        if not found:
            raise typer.BadParameter(f"there is no server {name}")
        chosen += found
    return chosen or list(ALL)


program()
