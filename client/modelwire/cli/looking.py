"""`info` and `runners`: what a server is and offers."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelwire.cli.command import Session, add, style
from modelwire.cli.output import card, console, plain, status_text, styled, table, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from modelwire import Runner

PANEL = "Look and manage"


@style(PANEL, "modelwire info", "modelwire --target models.example.org:50051 info --json")
def info(session: Session) -> None:
    """Say whether a server is well, and what it has."""
    begun = time.perf_counter()
    health = session.client.health()
    seconds = round(time.perf_counter() - begun, 4)
    runners = [runner.id for runner in session.client.runners.list()]
    configs, artifacts = session.client.configs.count(), session.client.artifacts.count()
    running, waiting = (_count(session, status) for status in ("running", "pending"))
    if session.json:
        jobs = {"running": running, "pending": waiting}
        document = {"target": session.target, "health": health, "answered_in_seconds": seconds, "runners": runners}
        return write_json({**document, "configs": configs, "artifacts": artifacts, "jobs": jobs})
    fields: dict[str, RenderableType | None] = {
        "server": session.target,
        "health": status_text(health),
        "runners": ", ".join([f"{runners[0]} (default)", *runners[1:]]) if runners else None,
        "configs": str(configs),
        "artifacts": str(artifacts),
        "jobs": f"{running} running, {waiting} waiting",
    }
    return console().print(card(fields))


def _count(session: Session, status: str) -> int:
    return sum(1 for _ in session.client.jobs.list(status=status))


@style(PANEL, "modelwire runners", "modelwire runners diabetes", "modelwire runners diabetes --json | jq .config_schema")
def runners(
    session: Session,
    runner: Annotated[
        str, typer.Argument(metavar="[ID]", help="Describe this one with all its parameters.", show_default=False)
    ] = "",
) -> None:
    """List the runners of a server, or describe one."""
    if runner:
        described = session.client.runners.get(runner)
        return write_json(described) if session.json else _describe(described)
    listed = list(session.client.runners.list())
    if session.json:
        return write_json(listed)
    rows = [(styled(r.id, "cyan"), r.display_name, r.version, r.period_type, r.description) for r in listed]
    console().print(table("id", "name", "version", "periods", "description", rows=rows))
    return None


def _describe(runner: "Runner") -> None:
    out = console()
    out.print(
        card(
            {
                "id": styled(runner.id, "bold cyan"),
                "name": runner.display_name,
                "version": runner.version,
                "description": runner.description,
                "author": runner.model_metadata.author,
                "assessed": runner.model_metadata.author_assessed_status,
                "periods": f"{runner.period_type}, {runner.min_prediction_periods} to {runner.max_prediction_periods} predicted",
                "needs columns": ", ".join(runner.required_covariates),
                "needs GeoJSON": "yes" if runner.requires_geo else "no",
                "frames": runner.frame_library,
                "levels": ", ".join(runner.level_labels.values()),
            }
        )
    )
    out.print()
    out.print(parameters(runner.config_schema))


def parameters(schema: dict[str, Any]) -> "RenderableType":
    """The fields of a config schema."""
    required = set(schema.get("required", ()))
    rows = [
        (styled(name, "cyan"), _type(field), "required" if name in required else _default(field), _short(field.get("description")))
        for name, field in schema.get("properties", {}).items()
    ]
    return table("parameter", "type", "default", "meaning", rows=rows)


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    options = field.get("anyOf")
    if options:
        return " | ".join(_type(option) for option in options)
    name = field.get("type", field.get("$ref", "any").rpartition("/")[2])
    return f"{name} of {_type(field['items'])}" if name == "array" and "items" in field else str(name)


def _default(field: dict[str, Any]) -> str:
    from modelwire.cli.output import compact

    return compact(plain(field["default"])) if "default" in field else "-"


def _short(text: str | None) -> str:
    return (text or "").partition("\n")[0]


def register(app: typer.Typer) -> None:
    """Adds the commands to the root."""
    add(app, "info", info)
    add(app, "runners", runners)
