"""`modelwire package`."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelwire.cli.command import Json, style, wants_json
from modelwire.cli.ends import Stop
from modelwire.cli.output import console, write_json

from .needs import PANEL, server_packages

if TYPE_CHECKING:
    from ..image.context import Written

_FORBIDDEN = re.compile(r"[^a-z0-9._-]+")


@style(
    PANEL,
    "modelwire package service.py:runner",
    "modelwire package service.py:runner --output build/image --python 3.12",
    "modelwire package models.py:predictors --requirements requirements.lock --version 1.4.0",
)
def package(
    context: typer.Context,
    targets: Annotated[list[str], typer.Argument(metavar="TARGET", help="file.py:name, as `modelwire serve` takes it.")],
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="Where the build context is written.")] = Path("image"),
    name: Annotated[
        str,
        typer.Option("--name", metavar="NAME", help="What the image is called.", show_default="the name of the project's folder"),
    ] = "",
    version: Annotated[str, typer.Option("--version", metavar="VERSION", help="The version that the image gets.")] = "0.1.0",
    python: Annotated[
        str, typer.Option("--python", metavar="X.Y", help="The Python in the image.", show_default="the one that runs this")
    ] = "",
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--requirements",
            metavar="FILE",
            help="What to install; without it requirements.txt beside the target, or what its imports need, as it is installed here.",
            show_default=False,
        ),
    ] = None,
    wheel: Annotated[
        Path | None,
        typer.Option("--wheel", metavar="FILE", help="modelwire itself, where no index has it.", show_default=False),
    ] = None,
    tests: Annotated[bool, typer.Option("--tests/--no-tests", help="Run the project's tests when the image is built.")] = True,
    json: Json = False,
) -> None:
    """Write all that a container image of your model is built from: a Containerfile for podman, docker and buildah.

    The image has the project, pinned packages, an ordinary user and a health check. While it is built, the project is checked and its
    tests run; what fails them becomes no image.
    """
    as_json = wants_json(context, json)
    root = project_of(targets)
    with server_packages():
        from ..image.context import Order, PackagingError, write_context
    for file in (requirements, wheel):
        if file is not None and not file.is_file():
            raise Stop(f"there is no file {file}")
    called = _FORBIDDEN.sub("-", (name or root.name).lower()).strip("-._") or "model"
    order = Order(
        name=called,
        title=called.replace("-", " ").capitalize(),
        targets=[str(Path(place).name) + colon + what for place, colon, what in (one.rpartition(":") for one in targets)],
        root=root,
        project_version=version,
        python=python or f"{sys.version_info.major}.{sys.version_info.minor}",
        requirements=requirements,
        wheel=wheel,
        tests=tests,
    )
    if output.exists():
        raise Stop(f"{output} is there already", hint="Remove it, or choose another --output.")
    try:
        written = write_context(order, output)
    except PackagingError as error:
        raise Stop(str(error), hint=error.hint) from None
    except OSError as error:
        raise Stop(f"{output} cannot be written: {error.strerror}") from None
    report(output, called, written, as_json=as_json)


def project_of(targets: list[str]) -> Path:
    """The folder that all targets are files of."""
    places = [Path(target.rpartition(":")[0]) for target in targets]
    for target, place in zip(targets, places, strict=True):
        if place.suffix != ".py":
            raise Stop(f"{target} is no file", hint="Name a file and what is served of it, such as service.py:runner.")
        if not place.is_file():
            raise Stop(f"there is no file {place}")
    folders = {place.resolve().parent for place in places}
    if len(folders) > 1:
        raise Stop("the targets are in several folders", hint="An image holds one project: put them into one folder.")
    return folders.pop()


def report(output: Path, name: str, written: "Written", *, as_json: bool) -> None:
    """Says what was written, and what to do with it."""
    if as_json:
        write_json({"folder": output, "name": name, "files": written.files, "notes": written.notes})
        return
    out = console()
    out.print(
        f"[green]made[/green] {output}/ with {len(written.files)} files; {written.packages} packages are named", soft_wrap=True
    )
    for note in written.notes:
        out.print(f"[yellow]look[/yellow] {note}", soft_wrap=True)
    out.print("\n[bold]Next[/bold]")
    for line in (f"make -C {output} build", f"make -C {output} serve smoke"):
        out.print(f"  [cyan]{line}[/cyan]", soft_wrap=True)
