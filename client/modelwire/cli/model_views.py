"""How models by name look in a terminal."""

from typing import TYPE_CHECKING

from modelwire.cli.command import Session
from modelwire.cli.output import age, card, console, number, plain, styled, table, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType

    from modelwire import GateFinding, ModelEvent, ModelVersion, PromotionGate, RegisteredModel


def aliases_of(model: "RegisteredModel") -> str:
    """`production=3, staging=4`."""
    return ", ".join(f"{alias}={version}" for alias, version in model.aliases.items())


def _metrics(metrics: "Mapping[str, float]") -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in metrics.items())


def print_model(session: Session, model: "RegisteredModel") -> None:
    """A model without its versions."""
    if session.json:
        return write_json(model)
    fields: dict[str, RenderableType | None] = {
        "name": styled(model.name, "bold cyan"),
        "description": model.description,
        "tags": ", ".join(model.tags),
        "aliases": aliases_of(model),
        "latest": str(model.latest_version),
        "gate": _rules(model.gate),
        "changed": f"{age(model.updated_at)} ago",
    }
    return console().print(card(fields))


def _rules(gate: "PromotionGate | None") -> str:
    """The rules of a gate, a line each."""
    if gate is None:
        return ""
    bounds = {f"metrics.{name}": plain(one) for name, one in gate.metrics.items()} | {"golden": plain(gate.golden) or {}}
    lines = [f"{path}.{rule} {value}" for path, rules in bounds.items() for rule, value in rules.items() if value not in (None, "")]
    required = [f"required {', '.join(gate.required)}"] if gate.required else []
    return "\n".join([*lines, *required, *([f"schema {gate.schema}"] if gate.schema else [])])


def findings_table(findings: "Iterable[GateFinding]") -> "RenderableType":
    """What the rules of a gate say, a line each."""
    rows = [(f.rule, styled("kept", "green") if f.passed else styled("broken", "bold red"), f.message) for f in findings]
    return table("rule", "state", "finding", rows=rows)


def versions_table(versions: "Iterable[ModelVersion]") -> "RenderableType":
    """Versions, a line each."""
    rows = [
        (
            str(v.version),
            styled(", ".join(v.aliases) or "-", "green"),
            v.stage,
            _metrics(v.metrics),
            v.algorithm,
            age(v.created_at),
            v.artifact_id,
        )
        for v in versions
    ]
    return table(">version", "aliases", "stage", "metrics", "algorithm", ">age", "artifact", rows=rows)


def print_version(session: Session, version: "ModelVersion") -> None:
    """All that is known of a version."""
    if session.json:
        return write_json(version)
    fields: dict[str, RenderableType | None] = {
        "version": styled(version.reference, "bold cyan"),
        "aliases": styled(", ".join(version.aliases) or "-", "green"),
        "stage": version.stage,
        "artifact": version.artifact_id,
        "runner": version.runner_id,
        **{name: value for name in ("source", "format", "grant") if (value := getattr(version, name))},
        "algorithm": version.algorithm,
        "framework": version.framework,
        "predicts": version.target,
        "features": ", ".join(version.features),
        "metrics": _metrics(version.metrics),
        "description": version.description,
        "tags": ", ".join(version.tags),
        "trained": f"{age(version.trained_at)} ago" if version.trained_at else None,
        "registered": f"{age(version.created_at)} ago",
    }
    return console().print(card(fields))


def print_pointing(session: Session, model: "RegisteredModel", alias: str) -> None:
    """Where an alias points now."""
    if session.json:
        return write_json(model)
    return console().print(f"{model.name}@{alias} is {model.name}/{model.aliases[alias]} now")


def say_deleted(session: Session, what: str) -> None:
    """That something is there no more."""
    if session.json:
        return write_json({"deleted": what})
    return console().print(f"deleted {what}")


def event_line(event: "ModelEvent") -> "RenderableType":
    """`2026-11-21 12:30:05  #4  weather@production is weather/3 now (was weather/2)`."""
    from rich.text import Text

    return Text.assemble((f"{event.time.astimezone():%Y-%m-%d %H:%M:%S}", "dim"), f"  #{event.sequence}  ", _told(event))


def _told(event: "ModelEvent") -> str:
    pointer, version = f"{event.name}@{event.alias}", f"{event.name}/{event.version}" if event.version else event.name
    before = f" (was {event.name}/{event.previous_version})" if event.previous_version else ""
    match event.kind:
        case "promoted":
            return f"{pointer} is {version} now{before}" + (f", overridden: {event.override}" if event.override else "")
        case "registered" if event.grant:
            return f"{version} registered, its content trusted: {event.grant}"
        case "rolled_back":
            return f"{pointer} is {version} again{before}"
        case "alias_removed":
            return f"{pointer} removed{before}"
        case "deleted" | "version_deleted":
            return f"{version} deleted"
        case kind:
            return f"{version} {kind}"
