"""What requests say of versions."""

import math
from collections.abc import Mapping

from modelwire.v1 import model_service_pb2 as pb

from ..registry.model import Stage
from .checks import Findings
from .gates import MOST_METRICS

STAGES = {
    Stage.NONE: pb.MODEL_STAGE_UNSPECIFIED,
    Stage.STAGING: pb.MODEL_STAGE_STAGING,
    Stage.PRODUCTION: pb.MODEL_STAGE_PRODUCTION,
    Stage.ARCHIVED: pb.MODEL_STAGE_ARCHIVED,
}
STAGE_OF = {number: stage for stage, number in STAGES.items()}


def metrics_of(metrics: Mapping[str, float], findings: Findings) -> dict[str, float]:
    findings.within("metrics", len(metrics), 0, MOST_METRICS)
    for name, value in metrics.items():
        findings.text("metrics", name)
        if not math.isfinite(value):
            findings.add(f"metrics.{name[:100]}", f"must be a number, not {value}")
    return dict(metrics)
