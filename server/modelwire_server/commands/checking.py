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

# The id or name of what was checked, its version, and what is wrong with it.
Findings = tuple[str, str, "list[ValidationDiagnostic]"]
Frames = tuple["pa.Table | None", "pa.Table | None", dict[str, Any] | None]


@style(
    PANEL,
    "modelwire check service.py:runner",
    "modelwire check service.py:runner --data train.csv --future new.csv --set alpha=0.1",
    "modelwire check service.py:runner --sample",
    "modelwire check predictors.py:predictors",
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
    """Say what is wrong with a runner or a predictor before it is served. Exits with 1 if something is.

    A predictor predicts and scores on its test inputs. A runner trains, stores and loads the model with --data or --sample, and
    predicts with --future or --sample.
    """
    as_json = wants_json(context, json)
    if sample and (data or future):
        raise Stop("--sample makes the data by itself", hint="Leave out --data and --future.")
    if future and not data:
        raise Stop("--future needs a model, and that needs --data")
    with server_packages():
        from modelwire_runners import Predictor, Severity, TargetError, check_predictor, check_runner, load_served
        from modelwire_runners.predictor import self_tests_later
    try:
        with self_tests_later():
            served = load_served(target)
    except TargetError as error:
        raise Stop(str(error)) from None
    found: list[Findings] = []
    for one in served:
        if isinstance(one, Predictor):
            found.append((one.name, one.version, check_predictor(one)))
            continue
        train, predict, geometry = sample_frames(one) if sample else given_frames(data, future, geo, format)
        findings = check_runner(one, train, predict, config=settings_of(settings), geo=geometry)
        found.append((one.info.id, one.info.version, findings))
    report(found, as_json=as_json)
    if any(finding.severity is Severity.ERROR for _, _, findings in found for finding in findings):
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


def report(found: "list[Findings]", *, as_json: bool) -> None:
    """Prints the findings."""
    if as_json:
        documents = [{"runner": name, "findings": [one.model_dump(mode="json") for one in findings]} for name, _, findings in found]
        write_json(documents[0] if len(documents) == 1 else documents)
        return
    for name, version, findings in found:
        if not findings:
            console().print(f"[green]ok[/green]  {name} {version}: nothing is wrong")
    rows = [(name, status_text(f.severity), f.code, f.field or "", f.message) for name, _, findings in found for f in findings]
    if len(found) == 1 and rows:
        console().print(table("severity", "code", "where", "message", rows=[row[1:] for row in rows]))
    elif rows:
        console().print(table("of", "severity", "code", "where", "message", rows=rows))
