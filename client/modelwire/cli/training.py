"""`train`: a file becomes a model."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelwire.cli.command import Session, add, style
from modelwire.cli.configs import find_config
from modelwire.cli.ends import Stop
from modelwire.cli.frames import FormatOption, read_frame
from modelwire.cli.output import console, error_console, write_json
from modelwire.cli.values import GeoFile, Runner, Settings, Tags, read_geo, settings_of
from modelwire.cli.watching import follow, follow_quietly

if TYPE_CHECKING:
    from modelwire import Config, Job

PANEL = "Train and predict"

Priority = Annotated[
    int,
    typer.Option("--priority", metavar="N", min=-1000, max=1000, help="Jobs with a higher one begin first.", show_default=False),
]
JobTimeout = Annotated[
    float | None,
    typer.Option("--job-timeout", metavar="SECONDS", min=0.001, help="The job is ended after so long.", show_default=False),
]


@style(
    PANEL,
    "modelwire train v1 patients.csv",
    "modelwire train patients.csv --set alpha=0.1 --runner diabetes",
    "modelwire train v1 patients.parquet --no-wait --tag trial",
    "model=$(modelwire train v1 patients.csv)",
)
def train(
    session: Session,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="[CONFIG] DATA",
            help="CONFIG: id or name; without one, a config is made of --set. DATA: a CSV, Parquet or Arrow file, or - .",
            show_default=False,
        ),
    ],
    settings: Settings = None,
    name: Annotated[str, typer.Option("--name", help="The name of the config made of --set.", show_default=False)] = "",
    runner: Runner = "",
    geo: GeoFile = None,
    format: FormatOption = None,
    tag: Tags = None,
    job_timeout: JobTimeout = None,
    priority: Priority = 0,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the model, or submit and leave.")] = True,
) -> None:
    """Train a model on a file, and print the model's id.

    Ctrl-C while it waits leaves the job running.
    """
    wanted, path = _inputs(inputs)
    if wanted and (settings or runner or name):
        raise Stop("--set, --name and --runner make a config of their own", hint="Leave them out, or leave out CONFIG.")
    table = read_frame(path, format)
    geometry = read_geo(geo)
    config = find_config(session, wanted) if wanted else _make_config(session, path, settings, name, runner)
    job = session.client.train(config, table, geo=geometry, timeout=job_timeout, tags=tag or (), priority=priority)
    if wait:
        wait_for(session, job)
        job.result()
    report_submission(session, job, waited=wait)


def _inputs(inputs: list[str]) -> tuple[str, Path]:
    match inputs:
        case [data]:
            return "", Path(data)
        case [config, data]:
            return config, Path(data)
    raise Stop(
        f"too many arguments: {' '.join(inputs)}", hint="modelwire train CONFIG DATA, for instance  modelwire train v1 patients.csv"
    )


def _make_config(session: Session, path: Path, settings: list[str] | None, name: str, runner: str) -> "Config":
    made_name = name or f"{path.stem.strip('-') or 'data'}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    config = session.client.configs.create(made_name, settings_of(settings), runner=runner)
    if not session.json:
        error_console().print(f"made config {config.name} ({config.id})", markup=False, style="dim", soft_wrap=True)
    return config


def wait_for(session: Session, job: "Job[Any]") -> None:
    """Shows a job's progress on standard error; with --json only where that is a terminal."""
    shown = error_console()
    if session.json and not shown.is_terminal:
        follow_quietly(job)
    else:
        follow(job, shown)


def report_submission(session: Session, job: "Job[Any]", *, waited: bool) -> None:
    """Prints the id of what the job makes, alone where no terminal reads it, and what can be done next."""
    if session.json:
        return write_json(job)
    console().print(job.artifact_id)
    if not console().is_terminal:
        return None
    if not waited:
        hint = f"modelwire jobs watch {job.id}"
    elif job.kind == "train":
        hint = f"modelwire predict {job.artifact_id} FUTURE"
    else:
        hint = f"modelwire artifacts download {job.artifact_id} --out predictions.csv"
    error_console().print(f"next: {hint}", markup=False, style="dim", soft_wrap=True)
    return None


def register(app: typer.Typer) -> None:
    """Adds the command to the root."""
    add(app, "train", train)
