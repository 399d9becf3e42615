"""`predict`: a model and a file become predictions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelwire.cli.command import Session, add, style
from modelwire.cli.ends import Stop
from modelwire.cli.frames import SHOWN_ROWS, FormatOption, frame_table, read_frame, write_frame
from modelwire.cli.output import console, error_console, write_json
from modelwire.cli.training import PANEL, JobTimeout, Priority, report_submission, wait_for
from modelwire.cli.values import GeoFile, Tags, read_geo

if TYPE_CHECKING:
    import pyarrow as pa


@style(
    PANEL,
    "modelwire predict 01J8Z6N4RS0QGJ9E2T3W5X7Y9A new.csv",
    "modelwire predict weather new.csv --out predictions.parquet",
    "modelwire predict weather@staging future.csv --historic past.csv --job",
)
def predict(
    session: Session,
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A trained model: its id, or a name such as weather, weather/3 or weather@staging."),
    ],
    future: Annotated[Path, typer.Argument(metavar="FUTURE", help="The rows to predict for: a CSV, Parquet or Arrow file, or - .")],
    historic: Annotated[
        Path | None, typer.Option("--historic", metavar="FILE", help="What is known of the past.", show_default=False)
    ] = None,
    geo: GeoFile = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Store the predictions; the extension is the format.", show_default=False),
    ] = None,
    format: FormatOption = None,
    job: Annotated[bool, typer.Option("--job", help="Predict as a job; the predictions are kept on the server.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="With --job: wait for its end.")] = True,
    tag: Tags = None,
    job_timeout: JobTimeout = None,
    priority: Priority = 0,
) -> None:
    """Predict, at once or as a job.

    Without --out a terminal shows the first rows, and a pipe receives CSV.
    """
    if not job and (tag or job_timeout or priority or not wait):
        raise Stop("--tag, --job-timeout, --priority and --no-wait belong to --job", hint="Add --job.")
    rows = read_frame(future, format)
    past = read_frame(historic, format) if historic else None
    if job:
        submitted = session.client.submit_prediction(
            model, rows, past, geo=read_geo(geo), tags=tag or (), timeout=job_timeout, priority=priority
        )
        if wait:
            wait_for(session, submitted)
            made = submitted.result()
            if out:
                write_frame(made.frame(), out)
        return report_submission(session, submitted, waited=wait)
    predictions = session.client.predict(model, rows, historic=past, geo=read_geo(geo))
    return _show(session, predictions, out, model, rows.column_names)


def _show(session: Session, predictions: "pa.Table", out: Path | None, model: str, known: list[str]) -> None:
    if out:
        write_frame(predictions, out)
        if session.json:
            return write_json({"model": model, "rows": predictions.num_rows, "path": out})
        if str(out) != "-":
            error_console().print(f"{out}: {predictions.num_rows} rows", markup=False, soft_wrap=True)
        return None
    if session.json:
        return write_json({"model": model, "rows": predictions.num_rows, "predictions": predictions.to_pylist()})
    if not console().is_terminal:
        return write_frame(predictions, Path("-"))
    console().print(frame_table(predictions, known))
    if predictions.num_rows > SHOWN_ROWS:
        console().print(f"... {predictions.num_rows - SHOWN_ROWS} more rows; --out FILE stores all", style="dim")
    return None


def register(app: typer.Typer) -> None:
    """Adds the command to the root."""
    add(app, "predict", predict)
