"""What a version of a model must keep before an alias is pointed to it, and what was found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from google.protobuf.json_format import ParseDict, ParseError

from modelwire.errors import InvalidArgument
from modelwire.v1 import model_service_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message


@dataclass(frozen=True, kw_only=True)
class MetricBounds:
    """Bounds of a metric; `max_drop` and `max_rise` compare with the version that the alias points to now."""

    minimum: float | None = None
    maximum: float | None = None
    max_drop: float | None = None
    max_rise: float | None = None


@dataclass(frozen=True, kw_only=True)
class GoldenRows:
    """Rows of a dataset that must be predicted without an error, NaN or infinities.

    `max_difference` and `max_slowdown` (so many times as long) compare with the version that the alias points to now.
    """

    dataset_id: str = ""
    max_difference: float | None = None
    max_slowdown: float | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class PromotionGate:
    """What a version must keep before an alias is pointed to it.

    `required` names what must be known of it: algorithm, features, target, metrics, framework, description or signature. `schema` says
    how its columns may differ from those of the version before: in any way (empty), "compatible" or "identical".
    """

    metrics: Mapping[str, MetricBounds] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    schema: Literal["", "compatible", "identical"] = ""
    golden: GoldenRows | None = None


@dataclass(frozen=True, kw_only=True)
class GateFinding:
    """What one rule of a gate says of a version; `rule` is a path such as `metrics.accuracy.minimum`."""

    rule: str
    passed: bool
    message: str


def gate_message(gate: PromotionGate | Mapping[str, Any]) -> model_service_pb2.PromotionGate:
    """The gate, or an object with the same keys, as a message. Raises InvalidArgument."""
    document = {name: value for name, value in (asdict(gate) if isinstance(gate, PromotionGate) else gate).items() if value}
    if rule := document.pop("schema", ""):
        document["schema"] = f"SCHEMA_RULE_{str(rule).upper()}"
    try:
        return ParseDict(document, model_service_pb2.PromotionGate())
    except ParseError as error:
        raise InvalidArgument.of("gate", str(error).splitlines()[0]) from None


def gate_of(message: model_service_pb2.PromotionGate) -> PromotionGate:
    """The gate of a message."""
    rule = model_service_pb2.SchemaRule.Name(message.schema).removeprefix("SCHEMA_RULE_").lower()
    return PromotionGate(
        metrics={name: MetricBounds(**_given(bounds)) for name, bounds in sorted(message.metrics.items())},
        required=tuple(message.required),
        schema="" if rule == "unspecified" else rule,  # type: ignore[arg-type]
        golden=GoldenRows(**_given(message.golden)) if message.HasField("golden") else None,
    )


def finding_of(message: model_service_pb2.GateFinding) -> GateFinding:
    """The finding of a message."""
    return GateFinding(rule=message.rule, passed=message.passed, message=message.message)


def _given(message: Message) -> dict[str, Any]:
    return {descriptor.name: value for descriptor, value in message.ListFields()}
