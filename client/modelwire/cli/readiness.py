"""`models ready` and `models reload`: which models can predict, and looking for them anew."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelwire.cli.command import Session, add, style
from modelwire.cli.ends import ExitCode
from modelwire.cli.output import console, styled, table, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelwire import ModelReadiness


@style("Commands", "modelwire models ready", "modelwire models ready weather@staging", "modelwire models ready --json")
def ready(
    session: Session,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Only this model: weather, weather@staging.", show_default=False)
    ] = "",
) -> None:
    """Say which models can predict, and why others cannot; with exit code 1 if there are such.

    Without a name these are the models that the server is to serve, and those in production.
    """
    states = session.client.registry.readiness(name)
    _show(session, states)
    if not all(state.ready for state in states):
        raise typer.Exit(ExitCode.FAILED)


@style("Commands", "modelwire models reload", "modelwire models reload weather")
def reload(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only this model.", show_default=False)] = "",
) -> None:
    """Have all servers look anew for what their models are to be, and say how it is until then."""
    _show(session, session.client.registry.reload(name))


def register(app: typer.Typer) -> None:
    """Adds the commands to those of models."""
    add(app, "ready", ready)
    add(app, "reload", reload)


def _show(session: Session, states: "Sequence[ModelReadiness]") -> None:
    if session.json:
        return write_json(states)
    rows = [
        (
            styled(state.model, "cyan"),
            styled("ready", "green") if state.ready else styled("not ready", "bold red"),
            str(state.version or "-"),
            state.message,
        )
        for state in states
    ]
    return console().print(table("model", "state", ">version", "why", rows=rows))
