"""`configs`: named, validated parameters for runners."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelwire.cli.command import Session, command
from modelwire.cli.ends import ExitCode, Stop
from modelwire.cli.output import age, card, compact, console, styled, table, write_json
from modelwire.cli.values import Limit, Runner, Settings, Tags, Yes, confirm, is_id, read_parameters, settings_of

if TYPE_CHECKING:
    from modelwire import Config

app = typer.Typer(help="Named, validated parameters for runners.", no_args_is_help=True)

Config_ = Annotated[str, typer.Argument(metavar="CONFIG", help="An id, or a name that only one config has.")]
DataFile = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FILE", help="A JSON or TOML file of parameters; - reads JSON from standard input.", show_default=False
    ),
]


def find_config(session: Session, wanted: str) -> "Config":
    """The config of an id or of a name. Raises Stop if several have the name."""
    if is_id(wanted):
        return session.client.configs.get(wanted)
    found = list(session.client.configs.list(name=wanted, limit=6))
    if not found:
        raise Stop(
            f"there is no config named {wanted!r}", hint="modelwire configs list shows what there is.", code=ExitCode.NOT_FOUND
        )
    if len(found) > 1:
        ids = "\n".join(f"  {config.id}  {config.runner_id}, created {age(config.created_at)} ago" for config in found)
        raise Stop(f"several configs are named {wanted!r}; give the id of one", hint=ids)
    return found[0]


@command(app, "list", "modelwire configs list", "modelwire configs list --runner diabetes --tag production")
def list_configs(
    session: Session,
    runner: Runner = "",
    name: Annotated[str, typer.Option("--name", help="Only configs of this name.", show_default=False)] = "",
    tag: Tags = None,
    limit: Limit = 100,
) -> None:
    """List the configs, oldest first."""
    configs = list(session.client.configs.list(runner=runner, name=name, tags=tag or (), limit=limit))
    if session.json:
        return write_json(configs)
    rows = [(c.id, styled(c.name, "cyan"), c.runner_id, ", ".join(c.tags), age(c.updated_at), compact(c.data)) for c in configs]
    console().print(table("id", "name", "runner", "tags", ">age", "data…", rows=rows))
    return None


@command(app, "show", "modelwire configs show v1")
def show(session: Session, config: Config_) -> None:
    """Show one config with all its parameters and models."""
    found = find_config(session, config)
    _print(session, found)
    if session.json:
        return
    models = found.artifacts()
    if models:
        console().print()
        console().print(table("model", ">age", "tags", rows=[(m.id, age(m.created_at), ", ".join(m.tags)) for m in models]))


@command(
    app,
    "create",
    "modelwire configs create v1",
    'modelwire configs create v2 --set alpha=0.1 --set \'features=["bmi", "bp"]\'',
    "modelwire configs create v3 --data parameters.toml --runner diabetes --tag trial",
)
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="A name for people.")],
    settings: Settings = None,
    data: DataFile = None,
    runner: Runner = "",
    tag: Tags = None,
) -> None:
    """Store parameters under a name. What is not given gets the runner's default."""
    values = settings_of(settings, read_parameters(data))
    _print(session, session.client.configs.create(name, values, runner=runner, tags=tag or ()))


@command(app, "update", "modelwire configs update v1 --set alpha=0.2", "modelwire configs update v1 --name v1-final")
def update(
    session: Session,
    config: Config_,
    settings: Settings = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="Replaces all parameters.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The new name.", show_default=False)] = None,
    tag: Tags = None,
) -> None:
    """Change parameters, name or tags. Models keep what they were trained with."""
    found = find_config(session, config)
    values = settings_of(settings, read_parameters(data) if data else found.data)
    _print(session, session.client.configs.update(found.id, name or found.name, values, tags=tag or ()))


@command(app, "delete", "modelwire configs delete v1 --yes")
def delete(session: Session, config: Config_, yes: Yes = False) -> None:
    """Delete a config with all models and predictions made with it. There is no undo."""
    found = find_config(session, config)
    models = len(found.artifacts())
    confirm(f"Delete config {found.name} with {models} model{'' if models == 1 else 's'} and their predictions?", yes=yes)
    session.client.configs.delete(found.id)
    if session.json:
        return write_json({"deleted": found.id})
    console().print(f"deleted {found.id}")
    return None


def _print(session: Session, config: "Config") -> None:
    if session.json:
        return write_json(config)
    console().print(
        card(
            {
                "id": config.id,
                "name": styled(config.name, "bold cyan"),
                "runner": config.runner_id,
                "tags": ", ".join(config.tags),
                "changed": f"{age(config.updated_at)} ago",
            }
        )
    )
    rows = [(styled(key, "cyan"), compact(value)) for key, value in config.data.items()]
    console().print()
    console().print(table("parameter", "value", rows=rows))
    return None
