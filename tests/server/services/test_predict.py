"""PredictService over the wire: at once, and as jobs."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import ListValue, Struct

from modelwire.v1 import frame_pb2, run_info_pb2
from modelwire.v1 import predict_service_pb2 as pb
from modelwire_server.clock import new_id
from modelwire_server.frames import FrameLimits, read_frame, write_frame


def arrow(**columns: Any) -> frame_pb2.Frame:
    return frame_pb2.Frame(arrow=write_frame(pa.table(columns)))


def rows(columns: list[str], *values: list[Any]) -> frame_pb2.Frame:
    data = []
    for row in values:
        data.append(ListValue())
        data[-1].extend(row)
    return frame_pb2.Frame(table=frame_pb2.Table(columns=columns, data=data))


def test_a_prediction_comes_at_once(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        model = await edge.model(factor=3)
        answer = await edge.predictions.Predict(pb.PredictRequest(model=model.lower(), future=arrow(x=[1, 2])))
        assert answer.model_id == model
        assert read_frame(answer.predictions.arrow, FrameLimits(), "predictions").to_pydict() == {"sample_0": [3, 6]}
        assert edge.metrics.registry.get_sample_value("modelwire_predict_seconds_count") == 1

    run(scenario)


@pytest.mark.parametrize(
    ("future", "form", "answered"),
    [
        (arrow(x=[1]), frame_pb2.FRAME_FORM_UNSPECIFIED, "arrow"),
        (arrow(x=[1]), frame_pb2.FRAME_FORM_TABLE, "table"),
        (rows(["x"], [1]), frame_pb2.FRAME_FORM_UNSPECIFIED, "table"),
        (rows(["x"], [1]), frame_pb2.FRAME_FORM_ARROW, "arrow"),
    ],
)
def test_the_answer_has_the_form_of_the_question_or_the_one_asked_for(
    run: Any, future: frame_pb2.Frame, form: Any, answered: str
) -> None:
    async def scenario(edge: Any) -> None:
        answer = await edge.predictions.Predict(pb.PredictRequest(model=await edge.model(), future=future, form=form))
        assert answer.predictions.WhichOneof("content") == answered
        if answered == "table":
            assert MessageToDict(answer.predictions) == {
                "table": {
                    "columns": ["sample_0"],
                    "data": [[2.0]],
                    "schema": {"fields": [{"name": "sample_0", "type": "integer"}]},
                }
            }

    run(scenario)


@pytest.mark.parametrize(
    ("fields", "code", "reason", "wrong"),
    [
        ({"model": "weather"}, "NOT_FOUND", "MODEL_NOT_FOUND", []),
        ({"model": "the weather"}, "INVALID_ARGUMENT", "INVALID_FIELD", ["model"]),
        ({"model": new_id()}, "NOT_FOUND", "MODEL_NOT_FOUND", []),
        ({"future": None}, "INVALID_ARGUMENT", "INVALID_FRAME", ["future"]),
        ({"future": frame_pb2.Frame()}, "INVALID_ARGUMENT", "INVALID_FRAME", ["future"]),
        ({"future": frame_pb2.Frame(arrow=b"")}, "INVALID_ARGUMENT", "INVALID_FRAME", ["future"]),
        ({"historic": frame_pb2.Frame(arrow=b"x")}, "INVALID_ARGUMENT", "INVALID_FRAME", ["historic"]),
        ({"future": arrow(y=[1])}, "INVALID_ARGUMENT", "MISSING_COLUMNS", ["future"]),
        ({"geo": Struct()}, "INVALID_ARGUMENT", "INVALID_GEO", ["geo.type"]),
        ({"future": arrow(x=[1], fail=[1])}, "INTERNAL", "RUNNER_FAILED", []),
        ({"run_info": run_info_pb2.RunInfo(prediction_periods=-1)}, "INVALID_ARGUMENT", "HORIZON_OUT_OF_BOUNDS", None),
    ],
)
def test_what_cannot_be_predicted(run: Any, refusal: Any, fields: Any, code: str, reason: str, wrong: Any) -> None:
    async def scenario(edge: Any) -> None:
        request = pb.PredictRequest(**{"model": await edge.model(), "future": arrow(x=[1]), **fields})
        found = await refusal(edge.predictions.Predict(request))
        assert (found.code, found.reason) == (code, reason)
        assert wrong is None or found.fields == wrong

    run(scenario)


def test_an_answer_may_be_larger_than_a_request(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        request = pb.PredictRequest(model=await edge.model(), future=arrow(x=pa.array(range(200_000))))
        answer = await edge.predictions.Predict(request)
        assert len(answer.predictions.arrow) > 1_500_000

    run(scenario, max_message_bytes="1700KiB")


def stream(header: pb.SubmitPredictionRequest, **parts: bytes) -> Iterator[pb.SubmitPredictionStreamRequest]:
    yield pb.SubmitPredictionStreamRequest(header=header)
    for at in range(0, max(map(len, parts.values()), default=0), 100):
        for part, content in parts.items():
            if content[at : at + 100]:
                yield pb.SubmitPredictionStreamRequest(**{part: content[at : at + 100]})  # type: ignore[arg-type]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prediction_becomes_a_job(run: Any, streamed: bool) -> None:
    async def scenario(edge: Any) -> None:
        model, prediction = await edge.model(), new_id()
        past, future = arrow(x=[1]), arrow(x=[2, 3], time_period=["a", "b"])
        fields: dict[str, Any] = {"artifact_id": model.lower(), "prediction_id": prediction, "tags": ["a"]}
        if streamed:
            parts = stream(pb.SubmitPredictionRequest(**fields), historic=past.arrow, future=future.arrow)
            answer = await edge.predictions.SubmitPredictionStream(parts)
        else:
            answer = await edge.predictions.SubmitPrediction(pb.SubmitPredictionRequest(historic=past, future=future, **fields))
        job = await edge.domain.jobs.get(answer.job_id)
        assert (answer.artifact_id, job.artifact_id, job.model_id, job.kind) == (prediction, prediction, model, "predict")
        assert job.input["config"]["prediction_periods"] == 2
        for role, sent in (("historic", past), ("future", future)):
            assert (await edge.domain.blobs.local_path(job.input["frames"][role])).read_bytes() == sent.arrow
        assert edge.metrics.registry.get_sample_value("ml_predict_jobs_total") == 1
        assert edge.unfinished() == []

    run(scenario)


@pytest.mark.parametrize(
    ("fields", "parts", "reason"),
    [
        ({"artifact_id": "x y"}, {}, "INVALID_FIELD"),
        ({"artifact_id": new_id()}, {}, "MODEL_NOT_FOUND"),
        ({"historic": arrow(x=[1])}, {}, "INVALID_FIELD"),
        ({}, {"future": arrow(x=[1]).arrow}, "INVALID_FRAME"),
        ({}, {"historic": arrow(x=[1]).arrow}, "INVALID_FRAME"),
        ({}, {"historic": b"x", "future": arrow(x=[1]).arrow}, "INVALID_FRAME"),
        ({}, {"historic": arrow(x=[1]).arrow, "future": arrow(y=[1]).arrow}, "MISSING_COLUMNS"),
    ],
)
def test_streams_that_are_refused(run: Any, refusal: Any, fields: Any, parts: dict[str, bytes], reason: str) -> None:
    async def scenario(edge: Any) -> None:
        header = pb.SubmitPredictionRequest(**{"artifact_id": await edge.model(), **fields})
        assert (await refusal(edge.predictions.SubmitPredictionStream(stream(header, **parts)))).reason == reason
        assert edge.unfinished() == []

    run(scenario)


def test_a_job_for_what_is_no_model(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        from modelwire_server.artifacts.tree import NewArtifact

        note = await edge.domain.tree.create(NewArtifact(type="note"), {"a": 1})
        request = pb.SubmitPredictionRequest(artifact_id=note.id, historic=arrow(x=[1]), future=arrow(x=[1]))
        found = await refusal(edge.predictions.SubmitPrediction(request))
        assert (found.code, found.reason, found.metadata["type"]) == ("FAILED_PRECONDITION", "NOT_A_MODEL", "note")

    run(scenario)


def test_a_job_is_held_against_the_policy_that_was_asked_for(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        model, future = await edge.model(), arrow(x=[1])
        request = pb.SubmitPredictionRequest(artifact_id=model, historic=future, future=future, schema_policy=pb.SCHEMA_POLICY_OFF)
        made = await edge.predictions.SubmitPrediction(request)
        assert (await edge.domain.jobs.get(made.job_id)).input["schema_policy"] == "off"
        request.schema_policy = 9  # type: ignore[assignment]
        assert (await refusal(edge.predictions.SubmitPrediction(request))).fields == ["schema_policy"]

    run(scenario)
