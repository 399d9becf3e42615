"""Gates of models as messages of the contract."""

import math
from collections.abc import Mapping

from google.protobuf.message import Message

from modelwire.v1 import model_service_pb2 as pb

from ..registry.gate import DEMANDABLE, Gate, GoldenRows, MetricBounds, SchemaRule
from .checks import Findings

MOST_METRICS = 100
_RULES = {
    SchemaRule.ANY: pb.SCHEMA_RULE_UNSPECIFIED,
    SchemaRule.COMPATIBLE: pb.SCHEMA_RULE_COMPATIBLE,
    SchemaRule.IDENTICAL: pb.SCHEMA_RULE_IDENTICAL,
}
_RULE_OF = {number: rule for rule, number in _RULES.items()}
_BOUNDS = ("minimum", "maximum", "max_drop", "max_rise")
_GOLDEN_BOUNDS = ("max_difference", "max_slowdown", "max_seconds")


def gate_of(message: pb.PromotionGate, findings: Findings) -> Gate:
    """The gate that a caller asks for; what is wrong with it goes to the findings."""
    findings.within("gate.metrics", len(message.metrics), 0, MOST_METRICS)
    for index, name in enumerate(message.required):
        if name not in DEMANDABLE:
            findings.add(f"gate.required[{index}]", f"{name[:100]!r} is none of {', '.join(DEMANDABLE)}")
    if message.schema not in _RULE_OF:
        findings.add("gate.schema", f"{message.schema} is no rule")
    golden = message.golden
    if message.HasField("golden") and not golden.dataset_id:
        findings.add("gate.golden.dataset_id", "is needed: the rows to predict")
    return Gate(
        metrics={
            name: MetricBounds(**_numbers(f"gate.metrics.{name}", one, _BOUNDS, findings)) for name, one in message.metrics.items()
        },
        required=tuple(message.required),
        schema=_RULE_OF.get(message.schema, SchemaRule.ANY),
        golden=GoldenRows(
            dataset_id=findings.optional_id("gate.golden.dataset_id", golden.dataset_id),
            **_numbers("gate.golden", golden, _GOLDEN_BOUNDS, findings),
        ),
    )


def _numbers(field: str, message: Message, names: tuple[str, ...], findings: Findings) -> dict[str, float]:
    """The bounds that are there."""
    found = {name: getattr(message, name) for name in names if message.HasField(name)}
    for name, value in found.items():
        if math.isnan(value) or (name.startswith("max_") and value < 0):
            findings.add(f"{field}.{name}", f"must be a number{' that is not negative' if name.startswith('max_') else ''}")
    return found


def gate_message(gate: Gate) -> pb.PromotionGate:
    golden = gate.golden
    return pb.PromotionGate(
        metrics={name: pb.MetricBounds(**_given(bounds, _BOUNDS)) for name, bounds in gate.metrics.items()},
        required=gate.required,
        schema=_RULES[gate.schema],
        golden=pb.GoldenRows(dataset_id=golden.dataset_id, **_given(golden, _GOLDEN_BOUNDS)) if golden != GoldenRows() else None,
    )


def _given(bounds: MetricBounds | GoldenRows, names: tuple[str, ...]) -> Mapping[str, float]:
    return {name: value for name in names if (value := getattr(bounds, name)) is not None}
