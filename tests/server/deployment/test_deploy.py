"""Deploying: a trained model gets a name, what is known of it is checked, and predictions follow."""

from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from modelwire import FailedPrecondition, MetricBounds, NotFound, PromotionGate

FEATURES = {"a": 3, "b": 2}
KNOWN = {"algorithm": "logistic", "features": ["a", "b"], "metrics": {"accuracy": 0.9}, "target": "kind", "framework": "numpy 2"}
ACCURATE = PromotionGate(metrics={"accuracy": MetricBounds(minimum=0.7)}, required=["algorithm", "features", "metrics"])


@pytest.fixture
def gated(server: Any) -> Any:
    """A server with a model that is deployed, and that has rules for what takes its place."""
    server.deploy("kinds", "kinds", **KNOWN)
    server.client.registry.update("kinds", gate=ACCURATE)
    return server


def test_model_metadata_is_stored_and_listed(server: Any) -> None:
    model = server.deploy("kinds", "kinds", **KNOWN, description="Which kind it is", tags=["demo"])
    (found,) = server.ask("GET", "/api/v1/models/kinds/versions")[1]
    assert (found["name"], found["version"], found["artifact_id"]) == ("kinds", 1, model)
    assert {name: found[name] for name in KNOWN} == KNOWN
    assert datetime.fromisoformat(found["trained_at"]) <= datetime.now(UTC)
    assert (found["runner_id"], found["description"], found["tags"]) == ("kinds", "Which kind it is", ["demo"])


def test_active_models_are_listed_with_version_algorithm_and_deployment_time(server: Any, port: int) -> None:
    before = datetime.now(UTC)
    server.deploy("kinds", "kinds", **KNOWN)
    server.deploy("line", "order")
    server.client.registry.register("unused", server.trained("order"))
    status, answer = server.ask("GET", "/models", port=port)
    assert (status, list(answer)) == (200, ["models"])
    kinds, line = answer["models"]
    assert (kinds["model_id"], kinds["version"], kinds["algorithm"]) == ("kinds", "1", "logistic")
    assert (line["model_id"], line["version"]) == ("line", "1")
    assert before <= datetime.fromisoformat(kinds["deployed_at"]) <= datetime.fromisoformat(line["deployed_at"])
    server.deploy("kinds", "kinds", **KNOWN)
    again = server.ask("GET", "/models", port=port)[1]["models"][0]
    assert again["version"] == "2"
    assert again["deployed_at"] > line["deployed_at"]


def test_no_models_are_an_empty_list(server: Any, port: int) -> None:
    assert server.ask("GET", "/models", port=port) == (200, {"models": []})


def test_deploy_validates_loads_registers_and_activates(gated: Any) -> None:
    version = gated.client.registry.register("kinds", gated.trained("order"), alias="production", **KNOWN)
    assert (version.version, version.aliases) == (2, ("production",))
    assert gated.ask("POST", "/predict", {"model_id": "kinds", "features": FEATURES})[1]["prediction"] == 32.0
    assert [event.kind for event in islice(gated.client.registry.watch("kinds"), 5)][-2:] == ["registered", "promoted"]


def deploy_with(server: Any, accuracy: float, minimum: float) -> None:
    server.client.registry.update("kinds", gate={"metrics": {"accuracy": {"minimum": minimum}}})
    server.client.registry.register(
        "kinds", server.trained("order"), alias="production", **{**KNOWN, "metrics": {"accuracy": accuracy}}
    )


def test_below_a_quality_threshold_a_model_is_refused(gated: Any) -> None:
    with pytest.raises(FailedPrecondition, match=r"accuracy is 0.69, and must be at least 0.7") as refused:
        deploy_with(gated, 0.69, 0.7)
    assert [violation.field for violation in refused.value.violations] == ["metrics.accuracy.minimum"]
    assert active(gated) == "1"


@pytest.mark.parametrize(("accuracy", "minimum"), [(0.7, 0.7), (0.69, 0.6)])
def test_the_quality_threshold_is_configurable(gated: Any, accuracy: float, minimum: float) -> None:
    deploy_with(gated, accuracy, minimum)
    assert active(gated) == "2"


def test_a_missing_artifact_is_refused(gated: Any) -> None:
    with pytest.raises(NotFound) as refused:
        gated.client.registry.register("kinds", "01J8Z6N4RS0QGJ9E2T3W5X7Y9A", alias="production", **KNOWN)
    assert refused.value.reason == "MODEL_NOT_FOUND"
    assert active(gated) == "1"


def test_the_registry_is_a_part_that_keeps_each_version_by_its_number(gated: Any) -> None:
    gated.client.registry.register("kinds", gated.trained("order"), **KNOWN)
    assert [version.version for version in gated.client.registry.versions("kinds")] == [2, 1]
    assert active(gated) == "1"


def active(server: Any) -> str:
    """The version that predicts."""
    answer = server.ask("POST", "/predict", {"model_id": "kinds", "features": FEATURES})[1]
    version: str = answer["model_version"]
    return version
