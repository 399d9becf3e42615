"""`models import`: models that were made elsewhere."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from modelwire.cli.command import Session, add, style
from modelwire.cli.ends import Stop
from modelwire.cli.output import console, write_json
from modelwire.cli.values import Settings, Tags, measurements, read_parameters, settings_of

Format = Literal["skops", "onnx", "safetensors", "cloudpickle"]
Stage = Literal["staging", "production", "archived"]
# An address begins with a scheme; drives of Windows have one letter.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


@style(
    "Commands",
    "modelwire models import wine model.skops --alias staging",
    "modelwire models import wine model.onnx --feature alcohol --feature ash --metric accuracy=0.93",
    "modelwire models import wine model.pkl --grant 'made by our own pipeline, run 512'",
    "modelwire models import wine mlflow:wine@champion",
)
def import_model(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")],
    source: Annotated[
        str, typer.Argument(metavar="FILE|URI", help="A file, or an address: mlflow:wine@champion, s3://bucket/model.onnx.")
    ],
    kind: Annotated[
        Format | None,
        typer.Option("--format", help="What the file must be. Default: what it is.", show_default=False),
    ] = None,
    grant: Annotated[
        str,
        typer.Option("--grant", metavar="WHY", help="Why a file that can run code is to be trusted; recorded.", show_default=False),
    ] = "",
    runner: Annotated[
        str, typer.Option("--runner", metavar="ID", help="What predicts with it. Default: its own predict.", show_default=False)
    ] = "",
    settings: Settings = None,
    alias: Annotated[
        str, typer.Option("--alias", metavar="ALIAS", help="Point this alias to it at once.", show_default=False)
    ] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME=NUMBER", help="How good it is. May be repeated.", show_default=False),
    ] = None,
    description: Annotated[str, typer.Option("--description", help="What it is, for people.", show_default=False)] = "",
    tag: Tags = None,
    stage: Annotated[Stage | None, typer.Option("--stage", help="A label of the version.", show_default=False)] = None,
    algorithm: Annotated[str, typer.Option("--algorithm", help="What kind of model it is.", show_default=False)] = "",
    feature: Annotated[
        list[str] | None,
        typer.Option(
            "--feature",
            metavar="COLUMN",
            help="A column that it predicts from, in its order. Default: what the file tells. May be repeated.",
            show_default=False,
        ),
    ] = None,
    predicts: Annotated[str, typer.Option("--predicts", metavar="COLUMN", help="What it predicts.", show_default=False)] = "",
    framework: Annotated[str, typer.Option("--framework", help="The library it was made with.", show_default=False)] = "",
    signature: Annotated[
        Path | None,
        typer.Option(
            "--signature", metavar="FILE", help="A JSON or TOML file with its `inputs` and `outputs`.", show_default=False
        ),
    ] = None,
) -> None:
    """Make a model that was made elsewhere the next version of a name, and print that version.

    Files of skops, ONNX and safetensors run no code when they are read. Others need --grant, and a server that allows it.
    """
    version = session.client.registry.import_model(
        name,
        **_origin(source),
        format=kind or "",
        grant=grant,
        runner=runner,
        config=settings_of(settings) if settings else None,
        alias=alias,
        metrics=measurements(metric),
        description=description,
        tags=tag or (),
        stage=stage or "",
        algorithm=algorithm,
        features=feature or (),
        target=predicts,
        framework=framework,
        signature=read_parameters(signature) if signature else None,
    )
    if session.json:
        return write_json(version)
    return console().print(version.reference)


def _origin(source: str) -> dict[str, Any]:
    """A file, if there is one of that name; else an address. Raises Stop for what is neither."""
    path = Path(source)
    if path.is_file():
        return {"file": path}
    if not _ADDRESS.match(source):
        raise Stop(f"there is no file {source}", hint="An address begins with a scheme, for instance  mlflow:wine@champion")
    return {"uri": source}


def register(app: typer.Typer) -> None:
    add(app, "import", import_model)
