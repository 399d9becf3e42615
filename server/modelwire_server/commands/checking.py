"""`modelwire check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelwire.cli.command import Json, style, wants_json
from modelwire.cli.ends import ExitCode, Stop
from modelwire.cli.frames import FormatOption, read_frame
from modelwire.cli.output import console, status_text, table, write_json
from modelwire.cli.values import GeoFile, Settings, read_geo, settings_of

from .needs import PANEL, server_packages

if TYPE_CHECKING:
    import pyarrow as pa

    from modelwire_runners import BaseModelRunner, ValidationDiagnostic

Frames = tuple["pa.Table | None", "pa.Table | None", dict[str, Any] | None]


@style(
    PANEL,
    "modelwire check service.py:runner",
    "modelwire check service.py:runner --data train.csv --future new.csv --set alpha=0.1",
    "modelwire check service.py:runner --sample",
)
def check(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="file.py:name, package.module:name, or an installed runner's name.")
    ],
    data: Annotated[Path | None, typer.Option("--data", metavar="FILE", help="Train on this as well.", show_default=False)] = None,
    future: Annotated[
        Path | None, typer.Option("--future", metavar="FILE", help="And predict for this.", show_default=False)
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Train and predict on made-up disease data.")] = False,
    settings: Settings = None,
    geo: GeoFile = None,
    format: FormatOption = None,
    json: Json = False,
) -> None:
    """Say what is wrong with a runner before it is served. Exits with 1 if something is.

    With --data or --sample it trains, stores and loads the model; with --future or --sample it predicts.
    """
    as_json = wants_json(context, json)
    if sample and (data or future):
        raise Stop("--sample makes the data by itself", hint="Leave out --data and --future.")
    if future and not data:
        raise Stop("--future needs a model, and that needs --data")
    with server_packages():
        from modelwire_runners import Severity, TargetError, check_runner, load_runner
    try:
        runner = load_runner(target)
    except TargetError as error:
        raise Stop(str(error)) from None
    train, predict, geometry = sample_frames(runner) if sample else given_frames(data, future, geo, format)
    findings = check_runner(runner, train, predict, config=settings_of(settings), geo=geometry)
    report(runner, findings, as_json=as_json)
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


def given_frames(data: Path | None, future: Path | None, geo: Path | None, format: Any) -> Frames:
    """The frames in files."""
    return data and read_frame(data, format), future and read_frame(future, format), read_geo(geo)


def sample_frames(runner: "BaseModelRunner[Any]") -> Frames:
    """Made-up frames such as the runner says it needs."""
    from dataclasses import replace

    from ..sample_data import SampleOrder, generate_sample

    order = SampleOrder(seed=0, with_geo=runner.info.requires_geo, period_type=runner.info.period_type)
    training = generate_sample(order, runner.info)
    prediction = generate_sample(replace(order, predict=True), runner.info)
    return training.frames["data"], prediction.frames["future"], training.geo


def report(runner: "BaseModelRunner[Any]", findings: "list[ValidationDiagnostic]", *, as_json: bool) -> None:
    """Prints the findings."""
    if as_json:
        write_json({"runner": runner.info.id, "findings": [finding.model_dump(mode="json") for finding in findings]})
        return
    if not findings:
        console().print(f"[green]ok[/green]  {runner.info.id} {runner.info.version}: nothing is wrong")
        return
    rows = [(status_text(f.severity), f.code, f.field or "", f.message) for f in findings]
    console().print(table("severity", "code", "where", "message", rows=rows))
