"""`modelwire init`."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from modelwire.cli.command import Json, style, wants_json
from modelwire.cli.ends import Stop
from modelwire.cli.output import console, write_json

from .needs import PANEL

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@style(PANEL, "modelwire init my-model", "modelwire init rain-forecast --template r", "modelwire init my-model --folder ~/models")
def init(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The runner's id: lower-case letters, digits and hyphens.")],
    template: Annotated[
        Literal["python", "r", "shell"],
        typer.Option("--template", help="What trains and predicts: Python functions, or scripts in R or any other language."),
    ] = "python",
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="Where the project's folder is made.", show_default="here")
    ] = Path(),
    json: Json = False,
) -> None:
    """Begin a project for a runner of your own, that works as it is."""
    as_json = wants_json(context, json)
    if not NAME.fullmatch(name):
        raise Stop(f"{name!r} is no runner id", hint="Lower-case letters, digits and single hyphens, for instance my-model.")
    from ..scaffold import Language, write_project

    project = folder.expanduser() / name
    try:
        written = write_project(project, name, Language(template))
    except FileExistsError:
        raise Stop(f"{project} is there already", hint="Choose another name, or another --folder.") from None
    except OSError as error:
        raise Stop(f"{project} cannot be written: {error.strerror}") from None
    if as_json:
        write_json({"folder": project, "files": written})
        return
    out = console()
    out.print(f"[green]made[/green] {project}/", soft_wrap=True)
    for file in written:
        out.print(f"  {file.relative_to(project)}", style="dim", soft_wrap=True)
    out.print("\n[bold]Next[/bold]")
    for line in (f"cd {project}", *first_steps(name, template)):
        out.print(f"  [cyan]{line}[/cyan]", soft_wrap=True)


def first_steps(name: str, template: str) -> list[str]:
    """What to do in the new project's folder."""
    target = f"{name.replace('-', '_')}.py:runner"
    tests = ["python -m pytest"] if template == "python" else []
    return [*tests, f"modelwire check {target} --sample", f"modelwire serve {target}"]
