"""Deploying a model, step by step: each that fails is told, logged, and leaves in use what was."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from modelwire.v1 import model_service_pb2 as pb
from modelwire_server.clock import new_id

KNOWN = {"algorithm": "logistic", "features": ["x"], "metrics": {"accuracy": 0.9}}
ACCURATE = pb.PromotionGate(metrics={"accuracy": pb.MetricBounds(minimum=0.7)}, required=["algorithm", "features", "metrics"])


async def deploy(edge: Any, **changed: Any) -> pb.ModelVersion:
    asked = {"name": "weather", "artifact_id": await edge.model(), "alias": "production", **KNOWN, **changed}
    version: pb.ModelVersion = (await edge.models.RegisterModelVersion(pb.RegisterModelVersionRequest(**asked))).version
    return version


async def first(edge: Any) -> None:
    """A model that is deployed, and what holds for those that take its place."""
    await deploy(edge)
    await edge.models.UpdateModel(pb.UpdateModelRequest(name="weather", gate=ACCURATE))


async def active(edge: Any) -> int:
    model = (await edge.models.GetModel(pb.GetModelRequest(name="weather"))).model
    return int(model.aliases["production"])


async def logged(edge: Any, logs: list[Any]) -> str:
    """The code that the log tells, which may be after the caller has been answered."""
    while True:
        for line in logs:
            if line.get("method", "").endswith("RegisterModelVersion"):
                return str(line["code"])
        await edge.database.check()


@pytest.mark.parametrize(
    ("changed", "code", "rule"),
    [
        ({"name": ""}, "INVALID_ARGUMENT", "name"),
        ({"artifact_id": ""}, "INVALID_ARGUMENT", "artifact_id"),
        ({"algorithm": ""}, "FAILED_PRECONDITION", "required.algorithm"),
        ({"features": []}, "FAILED_PRECONDITION", "required.features"),
        ({"metrics": {}}, "FAILED_PRECONDITION", "required.metrics"),
    ],
    ids=["id", "version", "algorithm", "features", "metrics"],
)
def test_empty_id_version_algorithm_features_or_metrics_are_refused(
    run: Any, refusal: Any, changed: dict[str, Any], code: str, rule: str
) -> None:
    async def scenario(edge: Any) -> None:
        await first(edge)
        with capture_logs() as logs:
            refused = await refusal(deploy(edge, **changed))
            told = await logged(edge, logs)
        assert (refused.code, rule in refused.fields) == (code, True)
        assert await active(edge) == 1
        assert told == code

    run(scenario)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("validate", "PROMOTION_REFUSED"),
        ("artifact", "MODEL_NOT_FOUND"),
        ("load", "MODEL_NOT_LOADABLE"),
        ("serve", "RUNNER_NOT_SERVED"),
    ],
)
def test_each_failing_step_of_a_deployment_is_told_and_logged_and_changes_nothing(
    run: Any, refusal: Any, step: str, reason: str
) -> None:
    async def scenario(edge: Any) -> None:
        await first(edge)
        changed = {
            "validate": {"metrics": {"accuracy": 0.69}},
            "artifact": {"artifact_id": new_id()},
            "load": {"artifact_id": await edge.model(content=b"no pickle")},
            "serve": {"artifact_id": await edge.model(runner_id="gone")},
        }[step]
        with capture_logs() as logs:
            refused = await refusal(deploy(edge, **changed))
            told = await logged(edge, logs)
        assert refused.reason == reason
        assert await active(edge) == 1
        assert told == refused.code

    run(scenario)
