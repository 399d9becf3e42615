"""ScoreModel over the wire: how good a model is on rows whose target is known."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modelwire.v1 import frame_pb2
from modelwire.v1 import model_service_pb2 as pb
from modelwire_server.clock import new_id
from modelwire_server.frames import write_frame

RUNNERS = f"{Path(__file__).parent / 'scored.py'}"


def arrow(**columns: Any) -> frame_pb2.Frame:
    return frame_pb2.Frame(arrow=write_frame(pa.table(columns)))


async def score(edge: Any, model: str, data: frame_pb2.Frame, **more: str) -> pb.ScoreModelResponse:
    answer: pb.ScoreModelResponse = await edge.models.ScoreModel(pb.ScoreModelRequest(model=model, data=data, **more))
    return answer


async def registered(edge: Any, model: str, **fields: Any) -> None:
    await edge.models.RegisterModelVersion(
        pb.RegisterModelVersionRequest(name="weather", artifact_id=model, alias="production", **fields)
    )


def test_predictions_are_compared_with_the_target_of_the_version(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(factor=2)
        await registered(edge, model, target="y")
        scored = await score(edge, "weather", arrow(x=[1, 2, 3], y=[2.5, 4.5, 6.5]))
        assert dict(scored.scores) == pytest.approx({"r2": 1 - 0.75 / 8, "mae": 0.5, "rmse": 0.5})
        assert (scored.model_id, scored.model_version, scored.rows) == (model, "weather/1", 3)

    run(scenario)


def test_the_target_may_be_named_and_rows_without_it_do_not_count(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(factor=2)
        scored = await score(edge, model, arrow(x=[1, 2, 3], z=[2.0, None, 6.0]), target="z")
        assert (scored.scores["mae"], scored.rows, scored.model_version) == (0.0, 2, "")

    run(scenario)


def test_the_column_of_the_predictions_may_be_named(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(factor=3, runner_id="both")
        data = arrow(x=[1, 2], truth=[3, 6])
        assert (await score(edge, model, data)).scores["accuracy"] == 0.0  # the first new column is half of it
        assert (await score(edge, model, data, prediction="whole")).scores["accuracy"] == 1.0

    run(scenario, targets=[f"{RUNNERS}:both"])


def test_a_column_for_each_class_means_the_one_with_the_highest_probability(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(runner_id="odds")
        scored = await score(edge, model, arrow(x=[0.1, 0.9, 0.8], kind=["low", "high", "low"]))
        assert scored.scores["accuracy"] == pytest.approx(2 / 3)

    run(scenario, targets=[f"{RUNNERS}:odds"])


def test_scores_of_the_runners_own(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(factor=5, runner_id="own")
        scored = await score(edge, model, arrow(x=[1, 2], truth=[1, 2]))
        assert dict(scored.scores) == {"factor": 5.0, "rows": 2.0}
        number = await score(edge, model, arrow(x=[1], truth=[1], single=[1]))
        assert dict(number.scores) == {"score": 1.0}
        refused = await refusal(edge.models.ScoreModel(pb.ScoreModelRequest(model=model, data=arrow(truth=[1], nan=[1]))))
        assert (refused.code, refused.reason, refused.metadata["rule"]) == ("INTERNAL", "INVALID_PREDICTION", "finite")
        refused = await refusal(edge.models.ScoreModel(pb.ScoreModelRequest(model=model, data=arrow(truth=[1], fail=[1]))))
        assert (refused.reason, refused.message) == ("RUNNER_FAILED", "the runner raised ValueError: told to fail")

    run(scenario, targets=[f"{RUNNERS}:own"])


@pytest.mark.parametrize(
    ("fields", "code", "reason", "wrong"),
    [
        ({"model": "weather"}, "NOT_FOUND", "MODEL_NOT_FOUND", []),
        ({"model": new_id()}, "NOT_FOUND", "MODEL_NOT_FOUND", []),
        ({"data": None}, "INVALID_ARGUMENT", "INVALID_FRAME", ["data"]),
        ({"target": ""}, "INVALID_ARGUMENT", "INVALID_FIELD", ["target"]),
        ({"target": "z"}, "INVALID_ARGUMENT", "INVALID_FIELD", ["data"]),
        ({"data": arrow(x=pa.array([], "i8"), y=pa.array([], "i8"))}, "INVALID_ARGUMENT", "INVALID_FIELD", ["data"]),
        ({"data": arrow(x=[1], y=pa.array([None], "f8"))}, "INVALID_ARGUMENT", "INVALID_FIELD", ["data"]),
        ({"data": arrow(x=[1], y=[[1]])}, "INVALID_ARGUMENT", "INVALID_FIELD", ["data"]),
        ({"prediction": "sample_1"}, "INVALID_ARGUMENT", "INVALID_FIELD", ["prediction"]),
        ({"data": arrow(y=[1])}, "INVALID_ARGUMENT", "MISSING_COLUMNS", ["data"]),
        ({"data": arrow(x=[1], y=[1], fail=[1])}, "INTERNAL", "RUNNER_FAILED", []),
        ({"data": arrow(x=[1, None], y=[1, 2])}, "INTERNAL", "INVALID_PREDICTION", []),
    ],
)
def test_mistakes_are_told(run: Any, refusal: Any, fields: dict[str, Any], code: str, reason: str, wrong: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        asked = {"model": await edge.model(), "data": arrow(x=[1], y=[2]), "target": "y", **fields}
        refused = await refusal(edge.models.ScoreModel(pb.ScoreModelRequest(**asked)))
        assert (refused.code, refused.reason, refused.fields) == (code, reason, wrong)

    run(scenario)
