"""What a version must keep before an alias is pointed to it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .model import ModelVersion

# What a gate may demand to be known of a version.
DEMANDABLE = ("algorithm", "features", "target", "metrics", "framework", "description", "signature")


class SchemaRule(StrEnum):
    """How the columns of a version may differ from those of the version before."""

    ANY = ""
    COMPATIBLE = "compatible"
    IDENTICAL = "identical"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricBounds:
    """Bounds of a metric: of its value, and of how far it may be from that of the version before."""

    minimum: float | None = None
    maximum: float | None = None
    max_drop: float | None = None
    max_rise: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRows:
    """Rows that a version must predict, in a dataset artifact: not too far from the version before, and not too slowly."""

    dataset_id: str = ""
    max_difference: float | None = None
    max_slowdown: float | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The rules. An empty gate lets everything pass."""

    metrics: Mapping[str, MetricBounds] = field(default_factory=dict)
    required: Sequence[str] = ()
    schema: SchemaRule = SchemaRule.ANY
    golden: GoldenRows = GoldenRows()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Gate":
        return cls(
            metrics={name: MetricBounds(**bounds) for name, bounds in data.get("metrics", {}).items()},
            required=tuple(data.get("required", ())),
            schema=SchemaRule(data.get("schema", "")),
            golden=GoldenRows(**data.get("golden", {})),
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule says of a version. `rule` is a path within the gate."""

    rule: str
    passed: bool
    message: str


def findings(gate: Gate, new: ModelVersion, old: ModelVersion | None) -> Iterator[Finding]:
    """What the rules say that need no prediction. `old` is the version that the alias points to now."""
    yield from _required(gate, new)
    for name, bounds in gate.metrics.items():
        yield from _metric(name, bounds, new, old)
    if gate.schema is not SchemaRule.ANY and old is not None:
        yield from _schema(gate.schema, new.facts.signature, old.facts.signature)


def _required(gate: Gate, new: ModelVersion) -> Iterator[Finding]:
    for name in gate.required:
        known = new.description if name == "description" else getattr(new.facts, name)
        yield Finding(f"required.{name}", bool(known), "is known" if known else f"the version says nothing of its {name}")


def _metric(name: str, bounds: MetricBounds, new: ModelVersion, old: ModelVersion | None) -> Iterator[Finding]:
    rule, value = f"metrics.{name}", new.facts.metrics.get(name)
    if value is None or math.isnan(value):
        yield Finding(rule, False, f"the version has no {name}")
        return
    if bounds.minimum is not None:
        yield Finding(f"{rule}.minimum", value >= bounds.minimum, f"{name} is {value:g}, and must be at least {bounds.minimum:g}")
    if bounds.maximum is not None:
        yield Finding(f"{rule}.maximum", value <= bounds.maximum, f"{name} is {value:g}, and must be at most {bounds.maximum:g}")
    before = old.facts.metrics.get(name) if old else None
    if before is None or old is None:
        return
    change = f"{name} is {value:g}, after {before:g} of version {old.version}"
    if bounds.max_drop is not None:
        yield Finding(f"{rule}.max_drop", before - value <= bounds.max_drop, f"{change}: it may drop by {bounds.max_drop:g}")
    if bounds.max_rise is not None:
        yield Finding(f"{rule}.max_rise", value - before <= bounds.max_rise, f"{change}: it may rise by {bounds.max_rise:g}")


def _schema(rule: SchemaRule, new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Finding]:
    if not new.get("inputs") or not old.get("inputs"):
        yield Finding("schema", False, "the columns of one of the versions are not known, so that they cannot be compared")
        return
    differences = [*_inputs_that_break(new["inputs"], old["inputs"]), *_outputs_that_break(new, old)]
    if (
        rule is SchemaRule.IDENTICAL
        and not differences
        and (new["inputs"], new.get("outputs")) != (old["inputs"], old.get("outputs"))
    ):
        differences.append("the columns are in another order, or there are more of them")
    for difference in differences:
        yield Finding("schema", False, difference)
    if not differences:
        yield Finding("schema", True, "the columns fit those of the version before")


def _inputs_that_break(new: Sequence[Mapping[str, Any]], old: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What keeps a caller of the version before from calling this one."""
    before = {column["name"]: column for column in old}
    now = {column["name"]: column for column in new}
    for name in before.keys() - now.keys():
        yield f"the column {name!r} is gone, or has another name"
    for name in now.keys() - before.keys():
        yield f"the column {name!r} is new: those who called the version before do not send it"
    for name in sorted(before.keys() & now.keys()):
        yield from _change(name, now[name], before[name])


def _change(name: str, now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    if now["type"] != before["type"]:
        yield f"the column {name!r} was {before['type']} and is {now['type']}"
    if before.get("nullable") and not now.get("nullable", True):
        yield f"the column {name!r} had nulls, and this version has seen none"
    lost = sorted(map(str, set(before.get("categories") or ()) - set(now.get("categories") or ())))
    if lost and now.get("categories") is not None:
        yield f"the column {name!r} has lost the categories {', '.join(lost[:5])}"


def _outputs_that_break(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[str]:
    """What callers of the version before would miss in an answer."""
    now = {column["name"]: column["type"] for column in new.get("outputs") or ()}
    for column in old.get("outputs") or ():
        if not now:
            return
        if column["name"] not in now:
            yield f"the answer's column {column['name']!r} is gone"
        elif now[column["name"]] != column["type"]:
            yield f"the answer's column {column['name']!r} was {column['type']} and is {now[column['name']]}"
