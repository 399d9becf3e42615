"""What a version must keep before an alias is pointed to it: every refusal leaves the alias where it was."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from modelwire.v1 import model_service_pb2 as pb
from modelwire_server.artifacts.model import ARROW_STREAM, Blob
from modelwire_server.artifacts.tree import NewArtifact
from modelwire_server.clock import new_id, now
from modelwire_server.frames import write_frame
from modelwire_server.registry import gate as rules
from modelwire_server.registry.gate import Gate, MetricBounds, SchemaRule
from modelwire_server.registry.model import Facts, ModelVersion, Stage
from modelwire_server.registry.trial import Trial
from modelwire_server.registry.trial import findings as of_trial

INPUTS = [{"name": "x", "type": "int64", "nullable": False}, {"name": "place", "type": "string", "nullable": True}]
OUTPUTS = [{"name": "sample_0", "type": "double"}]


def version(number: int, description: str = "", **facts: Any) -> ModelVersion:
    return ModelVersion(
        id="",
        name="weather",
        version=number,
        artifact_id="",
        facts=Facts(**{"signature": {"inputs": INPUTS, "outputs": OUTPUTS}, **facts}),
        stage=Stage.NONE,
        description=description,
        tags=(),
        aliases=(),
        created_at=now(),
    )


def with_inputs(*inputs: dict[str, Any], outputs: Any = OUTPUTS) -> ModelVersion:
    return version(2, signature={"inputs": list(inputs), "outputs": outputs})


OLD = version(1, metrics={"accuracy": 0.9, "error": 1.0})
COMPATIBLE = Gate(schema=SchemaRule.COMPATIBLE)
ACCURATE = Gate(metrics={"accuracy": MetricBounds(minimum=0.7, maximum=0.99, max_drop=0.05)})


def refusals() -> Iterator[Any]:
    """What is wrong, the gate, the version and the rule that it breaks."""
    yield "missing metadata", Gate(required=["algorithm"]), version(2), "required.algorithm"
    yield "missing description", Gate(required=["description"]), version(2), "required.description"
    yield "a metric is missing", ACCURATE, version(2), "metrics.accuracy"
    yield "a metric is no number", ACCURATE, version(2, metrics={"accuracy": float("nan")}), "metrics.accuracy"
    yield (
        "below the threshold",
        Gate(metrics={"accuracy": MetricBounds(minimum=0.7)}),
        version(2, metrics={"accuracy": 0.69}),
        "metrics.accuracy.minimum",
    )
    yield "above the threshold", ACCURATE, version(2, metrics={"accuracy": 1.0}), "metrics.accuracy.maximum"
    yield "worse than before", ACCURATE, version(2, metrics={"accuracy": 0.84}), "metrics.accuracy.max_drop"
    risen = Gate(metrics={"error": MetricBounds(max_rise=0.1)})
    yield "a larger error than before", risen, version(2, metrics={"error": 1.2}), "metrics.error.max_rise"
    yield "changed column type", COMPATIBLE, with_inputs({**INPUTS[0], "type": "string"}, INPUTS[1]), "schema"
    yield "renamed column", COMPATIBLE, with_inputs({**INPUTS[0], "name": "y"}, INPUTS[1]), "schema"
    yield "removed column", COMPATIBLE, with_inputs(INPUTS[0]), "schema"
    yield "new column", COMPATIBLE, with_inputs(*INPUTS, {"name": "z", "type": "int64"}), "schema"
    yield "nulls are new to it", COMPATIBLE, with_inputs(INPUTS[0], {**INPUTS[1], "nullable": False}), "schema"
    yield "an answer's column is gone", COMPATIBLE, with_inputs(*INPUTS, outputs=[{"name": "mean", "type": "double"}]), "schema"
    yield "an answer's type changed", COMPATIBLE, with_inputs(*INPUTS, outputs=[{"name": "sample_0", "type": "int64"}]), "schema"
    yield "unknown columns", COMPATIBLE, version(2, signature={}), "schema"
    yield "another order", Gate(schema=SchemaRule.IDENTICAL), with_inputs(*reversed(INPUTS)), "schema"


@pytest.mark.parametrize(
    ("what", "gate", "new", "rule"), list(refusals()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_gate_refuses(what: str, gate: Gate, new: ModelVersion, rule: str) -> None:
    broken = [finding for finding in rules.findings(gate, new, OLD) if not finding.passed]
    assert {finding.rule for finding in broken} == {rule}
    assert all(finding.message for finding in broken)


def test_lost_categories_break_callers_and_new_ones_do_not() -> None:
    before, less = ({"name": "place", "type": "string", "categories": list(names)} for names in ("ab", "a"))
    assert not [f for f in rules.findings(COMPATIBLE, with_inputs(before), with_inputs(less)) if not f.passed]
    (broken,) = [f for f in rules.findings(COMPATIBLE, with_inputs(less), with_inputs(before)) if not f.passed]
    assert "b" in broken.message


def test_the_first_version_is_compared_with_nothing() -> None:
    gate = Gate(metrics={"accuracy": MetricBounds(minimum=0.7, max_drop=0.0)}, schema=SchemaRule.IDENTICAL)
    assert all(finding.passed for finding in rules.findings(gate, version(1, metrics={"accuracy": 0.7}), None))


def trial(seconds: float = 1.0, **columns: Any) -> Trial:
    return Trial(pa.table(columns or {"sample_0": [1.0, 2.0]}), seconds)


@pytest.mark.parametrize(
    ("new", "rule"),
    [
        (trial(sample_0=[1.0, float("nan")]), "golden"),
        (trial(sample_0=[1.0, float("inf")]), "golden"),
        (trial(sample_0=[1.0, None]), "golden"),
        (trial(sample_0=[1.0, 2.2]), "golden.max_difference"),
        (trial(other=[1.0, 2.0]), "golden.max_difference"),
        (trial(sample_0=[1.0]), "golden.max_difference"),
        (trial(sample_0=["1", "a"]), "golden.max_difference"),
        (trial(3.1), "golden.max_slowdown"),
        (trial(2.9), "golden.max_seconds"),
    ],
)
def test_golden_rows_refuse(new: Trial, rule: str) -> None:
    golden = rules.GoldenRows(dataset_id="some", max_difference=0.1, max_slowdown=3.0, max_seconds=2.5)
    broken = {finding.rule for finding in of_trial(golden, new, trial()) if not finding.passed}
    assert rule in broken


def test_golden_rows_pass() -> None:
    golden = rules.GoldenRows(dataset_id="some", max_difference=0.1, max_slowdown=3.0, max_seconds=2.5)
    assert all(finding.passed for finding in of_trial(golden, trial(2.0, sample_0=[1.05, 2.0]), trial()))


async def dataset(edge: Any, **columns: Any) -> str:
    blob: Blob = await edge.domain.blobs.put(write_frame(pa.table(columns)))
    artifact = await edge.domain.tree.store(NewArtifact(), blob, ARROW_STREAM)
    found: str = artifact.id
    return found


async def two_versions(edge: Any, gate: pb.PromotionGate, **facts: Any) -> None:
    """Version 1 in production, version 2 twice as steep; then the gate."""
    await edge.models.RegisterModelVersion(
        pb.RegisterModelVersionRequest(
            name="weather", artifact_id=await edge.model(factor=2), alias="production", metrics={"r2": 0.9}
        )
    )
    await edge.models.RegisterModelVersion(
        pb.RegisterModelVersionRequest(name="weather", artifact_id=await edge.model(factor=4), **facts)
    )
    await edge.models.UpdateModel(pb.UpdateModelRequest(name="weather", gate=gate))


async def production(edge: Any) -> int:
    model = (await edge.models.GetModel(pb.GetModelRequest(name="weather"))).model
    number: int = model.aliases["production"]
    return number


def to_the_second(**fields: Any) -> pb.PromoteModelRequest:
    return pb.PromoteModelRequest(name="weather", version="2", **fields)


def test_a_refused_promotion_names_each_rule_and_changes_nothing(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        gate = pb.PromotionGate(metrics={"r2": pb.MetricBounds(minimum=0.7)}, required=["algorithm"])
        await two_versions(edge, gate, metrics={"r2": 0.5})
        refused = await refusal(edge.models.PromoteModel(to_the_second()))
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "PROMOTION_REFUSED")
        assert sorted(refused.fields) == ["metrics.r2.minimum", "required.algorithm"]
        assert await production(edge) == 1

    run(scenario)


def test_what_it_predicts_is_compared_with_the_version_before(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        golden = pb.GoldenRows(dataset_id=await dataset(edge, x=[1, 2, 3]), max_difference=1.0)
        await two_versions(edge, pb.PromotionGate(golden=golden))
        refused = await refusal(edge.models.PromoteModel(to_the_second()))
        assert refused.fields == ["golden.max_difference"]
        assert "differ by up to 6" in refused.message
        golden.max_difference = 6.0
        await edge.models.UpdateModel(pb.UpdateModelRequest(name="weather", gate=pb.PromotionGate(golden=golden)))
        done = await edge.models.PromoteModel(to_the_second())
        assert {finding.rule: finding.passed for finding in done.findings} == {"golden": True, "golden.max_difference": True}
        assert await production(edge) == 2

    run(scenario)


def test_golden_rows_that_cannot_be_predicted_refuse(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        await two_versions(edge, pb.PromotionGate(golden=pb.GoldenRows(dataset_id=await dataset(edge, x=[1], fail=[1]))))
        refused = await refusal(edge.models.PromoteModel(to_the_second()))
        assert (refused.fields, "told to fail" in refused.message) == (["golden"], True)
        assert await production(edge) == 1

    run(scenario)


def test_a_dry_run_only_tells(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        await two_versions(edge, pb.PromotionGate(required=["target"]))
        told = await edge.models.PromoteModel(to_the_second(dry_run=True))
        assert [(finding.rule, finding.passed) for finding in told.findings] == [("required.target", False)]
        assert await production(edge) == 1

    run(scenario)


def test_an_override_is_recorded(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        await two_versions(edge, pb.PromotionGate(required=["target"]))
        await edge.models.PromoteModel(to_the_second(override="the old one is broken"))
        assert await production(edge) == 2
        call = edge.models.WatchModels(pb.WatchModelsRequest(name="weather"))
        told = [await call.read() for _ in range(5)]
        call.cancel()
        assert (told[-1].kind, told[-1].override) == (pb.MODEL_EVENT_KIND_PROMOTED, "the old one is broken")

    run(scenario)


def test_an_override_does_not_promote_what_cannot_be_loaded(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        await two_versions(edge, pb.PromotionGate())
        junk = await edge.model(content=b"no pickle")
        await edge.models.RegisterModelVersion(pb.RegisterModelVersionRequest(name="weather", artifact_id=junk))
        request = pb.PromoteModelRequest(name="weather", version="3", override="whatever")
        assert (await refusal(edge.models.PromoteModel(request))).reason == "MODEL_NOT_LOADABLE"
        assert await production(edge) == 1

    run(scenario)


@pytest.mark.parametrize(
    ("gate", "field"),
    [
        (pb.PromotionGate(required=["name"]), "gate.required[0]"),
        (pb.PromotionGate(schema=9), "gate.schema"),
        (pb.PromotionGate(metrics={"r2": pb.MetricBounds(max_drop=-1)}), "gate.metrics.r2.max_drop"),
        (pb.PromotionGate(golden=pb.GoldenRows(dataset_id="x")), "gate.golden.dataset_id"),
        (pb.PromotionGate(golden=pb.GoldenRows(dataset_id=new_id(), max_slowdown=float("nan"))), "gate.golden.max_slowdown"),
    ],
)
def test_a_gate_that_cannot_be_is_refused(run: Any, refusal: Any, gate: pb.PromotionGate, field: str) -> None:
    async def scenario(edge: Any) -> None:
        await two_versions(edge, pb.PromotionGate(required=["algorithm"]))
        refused = await refusal(edge.models.UpdateModel(pb.UpdateModelRequest(name="weather", gate=gate)))
        assert refused.fields == [field]
        kept = (await edge.models.GetModel(pb.GetModelRequest(name="weather"))).model.gate
        assert list(kept.required) == ["algorithm"]

    run(scenario)


def test_golden_rows_must_be_a_frame(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        await two_versions(edge, pb.PromotionGate())
        text = await edge.domain.tree.create(NewArtifact(), "no frame")
        gate = pb.PromotionGate(golden=pb.GoldenRows(dataset_id=text.id))
        assert (await refusal(edge.models.UpdateModel(pb.UpdateModelRequest(name="weather", gate=gate)))).code == "INVALID_ARGUMENT"

    run(scenario)


def test_a_gate_comes_back_as_it_was_given(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        gate = pb.PromotionGate(
            metrics={"r2": pb.MetricBounds(minimum=0.0, max_drop=0.1)},
            required=["features"],
            schema=pb.SCHEMA_RULE_IDENTICAL,
            golden=pb.GoldenRows(dataset_id=await dataset(edge, x=[1]), max_seconds=2.0),
        )
        await two_versions(edge, gate)
        assert (await edge.models.GetModel(pb.GetModelRequest(name="weather"))).model.gate == gate

    run(scenario)


def test_differences_of_what_is_no_number_are_told() -> None:
    golden = rules.GoldenRows(dataset_id="some", max_difference=0.1)
    words = pa.table({"word": ["a"]})
    same, other = Trial(words, 1.0), Trial(words.set_column(0, "word", pc.utf8_upper(words["word"])), 1.0)
    assert all(finding.passed for finding in of_trial(golden, same, same))
    assert [finding.passed for finding in of_trial(golden, other, same)] == [True, False]
