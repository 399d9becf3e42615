"""`models`: models by name, their versions, and the aliases that are moved from one to the next."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from modelwire.cli.command import Session, command
from modelwire.cli.ends import ExitCode, Stop
from modelwire.cli.frames import FormatOption, read_frame
from modelwire.cli.model_views import (
    aliases_of,
    event_line,
    findings_table,
    print_model,
    print_pointing,
    print_version,
    say_deleted,
    versions_table,
)
from modelwire.cli.output import age, console, plain, styled, table, write_json
from modelwire.cli.predictors import print_scores
from modelwire.cli.values import Limit, Tags, Yes, confirm, measurements, read_parameters

app = typer.Typer(help="Models by name: versions, and the aliases that predictions follow.", no_args_is_help=True)

Stage = Literal["none", "staging", "production", "archived"]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
NameOrVersion = Annotated[str, typer.Argument(metavar="NAME[/VERSION]", help="A model, or one version: weather, weather/3.")]
Alias = Annotated[str, typer.Option("--alias", metavar="ALIAS", help="The alias.")]
Description = Annotated[str | None, typer.Option("--description", help="What it is, for people.", show_default=False)]
StageOption = Annotated[Stage | None, typer.Option("--stage", help="A label of the version.", show_default=False)]


@command(app, "list", "modelwire models list", "modelwire models list --tag health --json | jq '.[].aliases'")
def list_models(session: Session, tag: Tags = None, limit: Limit = 100) -> None:
    """List the models that have names, oldest first."""
    models = list(session.client.registry.list(tags=tag or (), limit=limit))
    if session.json:
        return write_json(models)
    rows = [
        (styled(m.name, "cyan"), str(m.latest_version), aliases_of(m), ", ".join(m.tags), age(m.updated_at), m.description)
        for m in models
    ]
    console().print(table("name", ">latest", "aliases", "tags", ">age", "description…", rows=rows))
    return None


@command(
    app,
    "show",
    "modelwire models show weather",
    "modelwire models show weather/3",
    "modelwire models show weather@production --json",
)
def show(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model or one version: weather, weather/3, weather@production.")],
    limit: Limit = 20,
) -> None:
    """Show a model with its versions, or one version with all that is known of it."""
    name, version = split(model)
    if version:
        return print_version(session, session.client.registry.version(name, version))
    found = session.client.registry.get(name)
    versions = list(session.client.registry.versions(name, limit=limit))
    if session.json:
        return write_json({**plain(found), "versions": versions})
    print_model(session, found)
    console().print()
    console().print(versions_table(versions))
    return None


@command(
    app,
    "register",
    "modelwire models register weather 01J8Z6N4RS0QGJ9E2T3W5X7Y9A",
    "modelwire models register weather $model --alias staging --metric accuracy=0.93",
)
def register(
    session: Session,
    name: Name,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The id of a trained model.")],
    alias: Annotated[
        str, typer.Option("--alias", metavar="ALIAS", help="Point this alias to it at once.", show_default=False)
    ] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME=NUMBER",
            help="How good it is, beside what the training told. May be repeated.",
            show_default=False,
        ),
    ] = None,
    description: Description = None,
    tag: Tags = None,
    stage: StageOption = None,
    algorithm: Annotated[str, typer.Option("--algorithm", help="What kind of model it is.", show_default=False)] = "",
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", metavar="COLUMN", help="A column that it predicts from. May be repeated.", show_default=False),
    ] = None,
    predicts: Annotated[str, typer.Option("--predicts", metavar="COLUMN", help="What it predicts.", show_default=False)] = "",
    framework: Annotated[str, typer.Option("--framework", help="The library it was made with.", show_default=False)] = "",
) -> None:
    """Make a trained model the next version of a name, and print that version.

    What is not said of it is what its training recorded.
    """
    version = session.client.registry.register(
        name,
        model,
        alias=alias,
        metrics=measurements(metric),
        description=description or "",
        tags=tag or (),
        stage=_stage(stage) or "",
        algorithm=algorithm,
        features=feature or (),
        target=predicts,
        framework=framework,
    )
    if session.json:
        return write_json(version)
    console().print(version.reference)
    return None


@command(
    app,
    "promote",
    "modelwire models promote weather 3",
    "modelwire models promote weather 4 --alias staging",
    "modelwire models promote weather 5 --dry-run",
    "modelwire models promote weather 5 --override 'the dataset was wrong, see the minutes of May'",
)
def promote(
    session: Session,
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A version's number, or an alias that points to it.")],
    alias: Alias = "production",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what the model's gate finds. Exits with 1 if a rule is broken.")
    ] = False,
    override: Annotated[
        str,
        typer.Option("--override", metavar="WHY", help="Why rules of the gate shall not count; recorded.", show_default=False),
    ] = "",
) -> None:
    """Point an alias to a version that passes the model's gate.

    It is loaded and tried out first. Predictions go on meanwhile, and none fails.
    """
    if not dry_run:
        return print_pointing(session, session.client.registry.promote(name, version, alias, override=override), alias)
    findings = session.client.registry.check(name, version, alias)
    if session.json:
        write_json(findings)
    else:
        console().print(findings_table(findings) if findings else "the gate has no rules; the version can be loaded")
    raise typer.Exit(ExitCode.OK if all(finding.passed for finding in findings) else ExitCode.FAILED)


@command(
    app,
    "score",
    "modelwire models score weather known.csv",
    "modelwire models score weather/3 known.parquet --predicts cases --json | jq .scores.mae",
)
def score(
    session: Session,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model: its id, or a name such as weather, weather/3 or weather@staging.")
    ],
    data: Annotated[Path, typer.Argument(metavar="FILE", help="Rows with what is right: a CSV, Parquet or Arrow file, or - .")],
    predicts: Annotated[
        str,
        typer.Option(
            "--predicts",
            metavar="COLUMN",
            help="The column of what is right. Default: what is known of the model.",
            show_default=False,
        ),
    ] = "",
    prediction: Annotated[
        str, typer.Option("--prediction", metavar="COLUMN", help="The column of the predictions to compare.", show_default=False)
    ] = "",
    format: FormatOption = None,
) -> None:
    """Say how good a model is on rows whose target is known."""
    found = session.client.registry.score(model, read_frame(data, format), target=predicts, prediction=prediction)
    about = {"rows": found.rows, "model_id": found.model_id, "model_version": found.model_version}
    print_scores(session, found.scores, **about)


@command(app, "rollback", "modelwire models rollback weather", "modelwire models rollback weather --alias staging")
def rollback(session: Session, name: Name, alias: Alias = "production") -> None:
    """Point an alias to the version that it pointed to before."""
    print_pointing(session, session.client.registry.rollback(name, alias), alias)


@command(app, "unalias", "modelwire models unalias weather staging --yes")
def unalias(
    session: Session, name: Name, alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias.")], yes: Yes = False
) -> None:
    """Remove an alias. Predictions by it fail from then on."""
    confirm(f"Remove the alias {name}@{alias}?", yes=yes)
    session.client.registry.remove_alias(name, alias)
    say_deleted(session, f"{name}@{alias}")


@command(
    app,
    "update",
    "modelwire models update weather --description 'Cases by month' --tag health",
    "modelwire models update weather/3 --stage archived",
    "modelwire models update weather --gate gate.toml",
)
def update(
    session: Session,
    model: NameOrVersion,
    description: Description = None,
    tag: Tags = None,
    stage: StageOption = None,
    gate: Annotated[
        Path | None,
        typer.Option(
            "--gate", metavar="FILE", help="A JSON or TOML file with what versions must keep to be promoted.", show_default=False
        ),
    ] = None,
) -> None:
    """Change what people wrote about a model or one of its versions, or a model's gate. What is not given stays."""
    name, version = split(model)
    if version:
        if gate:
            raise Stop("--gate belongs to models", hint=f"For instance  modelwire models update {name} --gate {gate}")
        changed = session.client.registry.update_version(
            name, version, description=description, tags=tag or (), stage=_stage(stage)
        )
        return print_version(session, changed)
    if stage:
        raise Stop("--stage is a label of versions", hint=f"For instance  modelwire models update {name}/1 --stage {stage}")
    rules = read_parameters(gate) if gate else None
    return print_model(session, session.client.registry.update(name, description=description, tags=tag or (), gate=rules))


@command(app, "delete", "modelwire models delete weather/2 --yes", "modelwire models delete weather --yes")
def delete(session: Session, model: NameOrVersion, yes: Yes = False) -> None:
    """Forget a name with all its versions, or one version. The trained models stay."""
    name, version = split(model)
    if version:
        confirm(f"Forget {name}/{version}?", yes=yes)
        session.client.registry.delete_version(name, version)
    else:
        aliases = aliases_of(session.client.registry.get(name))
        confirm(f"Forget the model {name} with all its versions{f' and aliases ({aliases})' if aliases else ''}?", yes=yes)
        session.client.registry.delete(name)
    say_deleted(session, model)


@command(app, "watch", "modelwire models watch", "modelwire models watch weather --after -1 --json | jq .kind")
def watch(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only this model.", show_default=False)] = "",
    after: Annotated[int, typer.Option("--after", min=-1, help="Only events after this sequence; -1: only new ones.")] = 0,
) -> None:
    """Tell what happened to models, and what happens from now on, until Ctrl-C."""
    for event in session.client.registry.watch(name, after):
        if session.json:
            write_json(event, line=True)
        else:
            console().print(event_line(event), soft_wrap=True)


def split(model: str) -> tuple[str, str]:
    """`weather/3` and `weather@production` as the name, and the version or alias behind it; empty if there is none. Raises Stop."""
    for separator in "@/":
        name, found, version = model.partition(separator)
        if found and not (name and version):
            raise Stop(f"{model} names no version", hint="For instance  weather/3  or  weather@production")
        if found:
            return name, version
    return model, ""


def _stage(stage: "Stage | None") -> Literal["", "staging", "production", "archived"] | None:
    return "" if stage == "none" else stage
