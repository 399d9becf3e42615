"""`models`: models by name, their versions, and the aliases that are moved from one to the next."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from modelwire.cli.command import Session, command
from modelwire.cli.ends import Stop
from modelwire.cli.output import age, card, console, number, plain, styled, table, write_json
from modelwire.cli.values import Limit, Tags, Yes, confirm, measurements

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType

    from modelwire import ModelEvent, ModelVersion, RegisteredModel

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
        (styled(m.name, "cyan"), str(m.latest_version), _aliases(m), ", ".join(m.tags), age(m.updated_at), m.description)
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
        return _print_version(session, session.client.registry.version(name, version))
    found = session.client.registry.get(name)
    versions = list(session.client.registry.versions(name, limit=limit))
    if session.json:
        return write_json({**plain(found), "versions": versions})
    _print_model(session, found)
    console().print()
    console().print(_versions(versions))
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


@command(app, "promote", "modelwire models promote weather 3", "modelwire models promote weather 4 --alias staging")
def promote(
    session: Session,
    name: Name,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A version's number, or an alias that points to it.")],
    alias: Alias = "production",
) -> None:
    """Point an alias to a version, once that is loaded. Predictions go on meanwhile, and none fails."""
    _print_pointing(session, session.client.registry.promote(name, version, alias), alias)


@command(app, "rollback", "modelwire models rollback weather", "modelwire models rollback weather --alias staging")
def rollback(session: Session, name: Name, alias: Alias = "production") -> None:
    """Point an alias to the version that it pointed to before."""
    _print_pointing(session, session.client.registry.rollback(name, alias), alias)


@command(app, "unalias", "modelwire models unalias weather staging --yes")
def unalias(
    session: Session, name: Name, alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias.")], yes: Yes = False
) -> None:
    """Remove an alias. Predictions by it fail from then on."""
    confirm(f"Remove the alias {name}@{alias}?", yes=yes)
    session.client.registry.remove_alias(name, alias)
    _say_deleted(session, f"{name}@{alias}")


@command(
    app,
    "update",
    "modelwire models update weather --description 'Cases by month' --tag health",
    "modelwire models update weather/3 --stage archived",
)
def update(
    session: Session, model: NameOrVersion, description: Description = None, tag: Tags = None, stage: StageOption = None
) -> None:
    """Change what people wrote about a model or one of its versions. What is not given stays."""
    name, version = split(model)
    if version:
        changed = session.client.registry.update_version(
            name, version, description=description, tags=tag or (), stage=_stage(stage)
        )
        return _print_version(session, changed)
    if stage:
        raise Stop("--stage is a label of versions", hint=f"For instance  modelwire models update {name}/1 --stage {stage}")
    return _print_model(session, session.client.registry.update(name, description=description, tags=tag or ()))


@command(app, "delete", "modelwire models delete weather/2 --yes", "modelwire models delete weather --yes")
def delete(session: Session, model: NameOrVersion, yes: Yes = False) -> None:
    """Forget a name with all its versions, or one version. The trained models stay."""
    name, version = split(model)
    if version:
        confirm(f"Forget {name}/{version}?", yes=yes)
        session.client.registry.delete_version(name, version)
    else:
        aliases = _aliases(session.client.registry.get(name))
        confirm(f"Forget the model {name} with all its versions{f' and aliases ({aliases})' if aliases else ''}?", yes=yes)
        session.client.registry.delete(name)
    _say_deleted(session, model)


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
            console().print(_line(event), soft_wrap=True)


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


def _aliases(model: "RegisteredModel") -> str:
    return ", ".join(f"{alias}={version}" for alias, version in model.aliases.items())


def _metrics(metrics: "Mapping[str, float]") -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in metrics.items())


def _print_model(session: Session, model: "RegisteredModel") -> None:
    if session.json:
        return write_json(model)
    fields: dict[str, RenderableType | None] = {
        "name": styled(model.name, "bold cyan"),
        "description": model.description,
        "tags": ", ".join(model.tags),
        "aliases": _aliases(model),
        "latest": str(model.latest_version),
        "changed": f"{age(model.updated_at)} ago",
    }
    return console().print(card(fields))


def _versions(versions: "Iterable[ModelVersion]") -> "RenderableType":
    rows = [
        (
            str(v.version),
            styled(", ".join(v.aliases), "green"),
            v.stage,
            _metrics(v.metrics),
            v.algorithm,
            age(v.created_at),
            v.artifact_id,
        )
        for v in versions
    ]
    return table(">version", "aliases", "stage", "metrics", "algorithm", ">age", "artifact", rows=rows)


def _print_version(session: Session, version: "ModelVersion") -> None:
    if session.json:
        return write_json(version)
    fields: dict[str, RenderableType | None] = {
        "version": styled(version.reference, "bold cyan"),
        "aliases": styled(", ".join(version.aliases) or "-", "green"),
        "stage": version.stage,
        "artifact": version.artifact_id,
        "runner": version.runner_id,
        "algorithm": version.algorithm,
        "framework": version.framework,
        "predicts": version.target,
        "from": ", ".join(version.features),
        "metrics": _metrics(version.metrics),
        "description": version.description,
        "tags": ", ".join(version.tags),
        "trained": f"{age(version.trained_at)} ago" if version.trained_at else None,
        "registered": f"{age(version.created_at)} ago",
    }
    return console().print(card(fields))


def _print_pointing(session: Session, model: "RegisteredModel", alias: str) -> None:
    if session.json:
        return write_json(model)
    return console().print(f"{model.name}@{alias} is {model.name}/{model.aliases[alias]} now")


def _say_deleted(session: Session, what: str) -> None:
    if session.json:
        return write_json({"deleted": what})
    return console().print(f"deleted {what}")


def _line(event: "ModelEvent") -> "RenderableType":
    """`2026-11-21 12:30:05  #4  weather@production is weather/3 now, before weather/2`."""
    from rich.text import Text

    return Text.assemble((f"{event.time.astimezone():%Y-%m-%d %H:%M:%S}", "dim"), f"  #{event.sequence}  ", _told(event))


def _told(event: "ModelEvent") -> str:
    pointer, version = f"{event.name}@{event.alias}", f"{event.name}/{event.version}" if event.version else event.name
    before = f"{event.name}/{event.previous_version}" if event.previous_version else "nothing"
    match event.kind:
        case "promoted":
            return f"{pointer} is {version} now, before {before}"
        case "rolled_back":
            return f"{pointer} is {version} again, before {before}"
        case "alias_removed":
            return f"{pointer} removed, before {before}"
        case "deleted" | "version_deleted":
            return f"{version} deleted"
        case kind:
            return f"{version} {kind}"
