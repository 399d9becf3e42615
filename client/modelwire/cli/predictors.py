"""`predictors`: models that take JSON, one payload at a time."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelwire.cli.command import Session, command
from modelwire.cli.ends import ExitCode, Stop
from modelwire.cli.output import age, card, console, number, styled, table, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from modelwire import Readiness

app = typer.Typer(help="Predictors: models that take JSON, and say how good they are.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The predictor's name.")]
Payload = Annotated[str, typer.Argument(metavar="PAYLOAD", help="JSON, or a file of it, or - .", show_default=False)]
TestInput = Annotated[bool, typer.Option("--test-input", help="Take the predictor's own test input.")]


@command(app, "list", "modelwire predictors list", "modelwire predictors list --json | jq '.[].name'")
def list_predictors(session: Session) -> None:
    """List the predictors of the server, and whether they work."""
    found = session.client.predictors.list()
    if session.json:
        return write_json(found)
    rows = [(styled(one.name, "cyan"), one.version, _state(one.readiness), age(one.created_at)) for one in found]
    console().print(table("name", "version", "works", ">age", rows=rows))
    return None


@command(app, "show", "modelwire predictors show cultivar", "modelwire predictors show cultivar --json | jq .predict_schema")
def show(session: Session, name: Name) -> None:
    """Show what a predictor takes, with inputs to try."""
    found = session.client.predictors.get(name)
    if session.json:
        return write_json(found)
    fields: dict[str, RenderableType | None] = {
        "name": styled(found.name, "bold cyan"),
        "version": found.version,
        "made": f"{age(found.created_at)} ago",
        "works": _state(found.readiness),
        "predicts from": _text(found.predict_schema),
        "for instance": _text(found.test_predict_input),
        "is scored with": _text(found.score_schema),
        "such as": _text(found.test_score_input),
    }
    console().print(card(fields))
    return None


@command(
    app,
    "predict",
    "modelwire predictors predict cultivar wines.json",
    "modelwire predictors predict doubling '[1, 2.5]'",
    "modelwire predictors predict cultivar --test-input",
    "modelwire predictors predict cultivar wines.jsonl --batch",
)
def predict(
    session: Session,
    name: Name,
    payload: Payload = "",
    test_input: TestInput = False,
    batch: Annotated[bool, typer.Option("--batch", help="Each line is a payload of its own, or each item of a list.")] = False,
) -> None:
    """Predict from a payload, and print the answer as JSON.

    With --batch each payload is answered with a line, and the exit code is 1 if any has no prediction.
    """
    if not batch:
        given = session.client.predictors.get(name).test_predict_input if test_input else _read(payload)
        return write_json(session.client.predictors.predict(name, given))
    outcomes = session.client.predictors.predict_batch(name, _read_many(payload))
    for outcome in outcomes:
        write_json(
            {"prediction": outcome.prediction} if outcome.ok else {"error": outcome.message, "reason": outcome.reason}, line=True
        )
    raise typer.Exit(ExitCode.OK if all(outcome.ok for outcome in outcomes) else ExitCode.FAILED)


@command(app, "score", "modelwire predictors score cultivar known.json", "modelwire predictors score cultivar --test-input")
def score(session: Session, name: Name, payload: Payload = "", test_input: TestInput = False) -> None:
    """Say how good a predictor is on data whose truth is known."""
    given = session.client.predictors.get(name).test_score_input if test_input else _read(payload)
    print_scores(session, session.client.predictors.score(name, given))


@command(app, "ready", "modelwire predictors ready", "modelwire predictors ready cultivar")
def ready(
    session: Session, name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only this one.", show_default=False)] = ""
) -> None:
    """Find out whether predictors work. Exits with 1 if any does not."""
    found = session.client.predictors.readiness(name)
    if session.json:
        write_json(found)
    else:
        rows = [(styled(one.predictor, "cyan"), _state(one), one.message) for one in found]
        console().print(table("name", "works", "why not…", rows=rows))
    raise typer.Exit(ExitCode.OK if all(one.ready for one in found) else ExitCode.FAILED)


def print_scores(session: Session, scores: dict[str, float], **about: Any) -> None:
    """Scores by their names, and what else is known of them."""
    if session.json:
        return write_json({"scores": scores, **about} if about else scores)
    console().print(table("score", ">value", rows=[(name, number(value)) for name, value in scores.items()]))
    return None


def _state(readiness: "Readiness") -> Any:
    return styled("yes", "green") if readiness.ready else styled("no", "bold red")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _read(payload: str) -> Any:
    """The JSON in an argument, or in the file that it names. Raises Stop."""
    text = _content(payload)
    try:
        return json.loads(text)
    except ValueError as error:
        told = f"{payload[:100]} is neither a file nor JSON" if text == payload else f"{payload} holds no JSON"
        raise Stop(f"{told}: {error}") from None


def _read_many(payload: str) -> list[Any]:
    """The payloads of a list, or of lines. Raises Stop."""
    text = _content(payload)
    try:
        found = json.loads(text)
    except ValueError:
        return [_line(line, place) for place, line in enumerate(text.splitlines(), 1) if line.strip()]
    return found if isinstance(found, list) else [found]


def _line(line: str, place: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise Stop(f"line {place} is no JSON: {error}") from None


def _content(payload: str) -> str:
    if not payload:
        raise Stop("there is no PAYLOAD", hint="Give JSON or a file of it, or --test-input.")
    try:
        if payload == "-":
            return sys.stdin.read()
        path = Path(payload)
        return path.read_text(encoding="utf-8") if len(payload) < 1000 and path.is_file() else payload
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"{payload} cannot be read: {error}") from None
