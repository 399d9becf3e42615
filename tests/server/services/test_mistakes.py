"""Submissions whose mistakes fail the job, and what validation says of models that cannot be used."""

from typing import Any

import pyarrow as pa
import pytest

from modelwire.v1 import config_service_pb2, error_pb2, frame_pb2, job_service_pb2, run_info_pb2
from modelwire.v1 import predict_service_pb2 as predict
from modelwire.v1 import runner_service_pb2 as runners
from modelwire.v1 import train_service_pb2 as train
from modelwire_server.artifacts.model import MODEL_TYPE, TRAINING_WORKSPACE_TYPE, WORKSPACE, Artifact, ArtifactInput
from modelwire_server.artifacts.workspace import Workspace, WorkspaceFile
from modelwire_server.clock import new_id, now
from modelwire_server.frames import write_frame

FRAME = frame_pb2.Frame(arrow=write_frame(pa.table({"x": [1, 2]})))
OTHER = frame_pb2.Frame(arrow=write_frame(pa.table({"y": [1, 2]})))


async def job_of(edge: Any, answer: Any) -> Any:
    return (await edge.jobs.GetJob(job_service_pb2.GetJobRequest(job_id=answer.job_id))).job


async def states_of(edge: Any, job_id: str) -> list[int]:
    events = [answer.event async for answer in edge.jobs.WatchJob(job_service_pb2.WatchJobRequest(job_id=job_id))]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return [event.state.status for event in events]


async def add(edge: Any, **fields: Any) -> str:
    """An artifact as a job has left it."""
    made = Artifact(
        id=new_id(), runner_id="times", inputs=(ArtifactInput("job", new_id()),), created_at=now(), updated_at=now(), **fields
    )
    await edge.database.write(lambda tx: edge.domain.tree.insert_made(tx, made))
    return made.id


async def workspace(edge: Any, *files: WorkspaceFile) -> Any:
    return await edge.domain.blobs.put(Workspace(files=files).to_json())


def test_an_unknown_config_fails_the_job_if_that_is_wanted(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        unknown = new_id()
        request = train.TrainRequest(config_id=unknown, data=FRAME, errors_in_job=True, request_id="once", tags=["a"])
        answer = await edge.trainings.Train(request)
        assert answer.message == f"Training job submitted. Job ID: {answer.job_id}"
        job = await job_of(edge, answer)
        assert (job.status, job.error) == (job_service_pb2.JOB_STATUS_FAILED, f"ValueError: Config {unknown} not found")
        assert (job.error_reason, job.error_traceback) == (error_pb2.ERROR_REASON_CONFIG_NOT_FOUND, job.error)
        assert (job.config_id, job.artifact_id, job.HasField("finished_at")) == (unknown, answer.artifact_id, True)
        assert await states_of(edge, job.id) == [job_service_pb2.JOB_STATUS_PENDING, job_service_pb2.JOB_STATUS_FAILED]
        assert await edge.trainings.Train(request) == answer
        request.errors_in_job = False
        request.request_id = ""
        assert (await refusal(edge.trainings.Train(request))).reason == "CONFIG_NOT_FOUND"

    run(scenario)


def test_so_does_all_else_that_is_wrong_with_a_well_formed_training(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        async def error(runner: str = "", data: frame_pb2.Frame = FRAME, **run_info: Any) -> str:
            fields = {"config_id": await edge.config(runner), "data": data, "run_info": run_info_pb2.RunInfo(**run_info)}
            job = await job_of(edge, await edge.trainings.Train(train.TrainRequest(**fields, errors_in_job=True)))
            return str(job.error)

        assert await error(data=OTHER) == "ValueError: data lacks the columns x; the frame has: y"
        assert await error("other") == "ValueError: the runner other needs a GeoJSON FeatureCollection"
        too_many = "ValueError: prediction_periods (1001, from run_info) exceeds the maximum allowed value (1000)"
        assert await error(prediction_periods=1001) == too_many
        malformed = train.TrainRequest(config_id=await edge.config(), data=frame_pb2.Frame(arrow=b"no"), errors_in_job=True)
        assert (await refusal(edge.trainings.Train(malformed))).reason == "INVALID_FRAME"

    run(scenario)


def test_streams_can_do_the_same(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        unknown = new_id()
        header = train.TrainStreamRequest(header=train.TrainRequest(config_id=unknown, errors_in_job=True))
        answer = await edge.trainings.TrainStream(iter([header, train.TrainStreamRequest(data=FRAME.arrow)]))
        assert (await job_of(edge, answer)).error == f"ValueError: Config {unknown} not found"
        order = predict.SubmitPredictionRequest(artifact_id=unknown, errors_in_job=True)
        parts = [{"header": order}, {"historic": FRAME.arrow}, {"future": FRAME.arrow}]
        stream = iter([predict.SubmitPredictionStreamRequest(**part) for part in parts])
        answer = await edge.predictions.SubmitPredictionStream(stream)
        assert (await job_of(edge, answer)).error == f"ValueError: Training artifact {unknown} not found"

    run(scenario)


FAILED = {"type": TRAINING_WORKSPACE_TYPE, "metadata": {"status": "failed", "exit_code": 3}}


@pytest.mark.parametrize(
    ("artifact", "error", "reason"),
    [
        (None, "Training artifact {id} not found", "MODEL_NOT_FOUND"),
        ({"type": "dataset"}, "Artifact {id} is not a training artifact", "NOT_A_MODEL"),
        (
            FAILED,
            "Cannot predict using failed training artifact {id}. Training script exited with code 3.",
            "NOT_A_MODEL",
        ),
        (
            {**FAILED, "metadata": {"status": "failed"}},
            "Cannot predict using failed training artifact {id}. Training failed.",
            "NOT_A_MODEL",
        ),
    ],
)
def test_predictions_without_a_model(run: Any, refusal: Any, artifact: dict[str, Any] | None, error: str, reason: str) -> None:
    async def scenario(edge: Any) -> None:
        model = new_id() if artifact is None else await add(edge, **artifact)
        request = predict.SubmitPredictionRequest(artifact_id=model, historic=FRAME, future=FRAME)
        refused = await refusal(edge.predictions.SubmitPrediction(request))
        assert (refused.reason, refused.message) == (reason, error.format(id=model))
        request.errors_in_job = True
        answer = await edge.predictions.SubmitPrediction(request)
        assert answer.message == f"Prediction job submitted. Job ID: {answer.job_id}"
        job = await job_of(edge, answer)
        assert (job.error, job.model_id) == (f"ValueError: {error.format(id=model)}", model)

    run(scenario)


def test_what_validation_calls_models_that_cannot_be_used(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        async def codes(artifact_id: str) -> list[tuple[str, str]]:
            request = runners.ValidateInputRequest(
                type=runners.VALIDATION_TYPE_PREDICT, artifact_id=artifact_id, historic=FRAME, future=FRAME
            )
            answer = await edge.runners.ValidateInput(request)
            assert answer.valid == all(one.severity != runners.VALIDATION_SEVERITY_ERROR for one in answer.diagnostics)
            return [(one.code, one.field) for one in answer.diagnostics]

        blobs = edge.domain.blobs
        assert await codes(new_id()) == [("training_artifact_not_found", "artifact_id")]
        assert await codes(await add(edge, type="generic")) == [("invalid_training_artifact", "artifact_id")]
        assert await codes(await add(edge, **FAILED)) == [("training_artifact_failed", "artifact_id")]
        gone = await add(edge, type=MODEL_TYPE, content_type="application/x-pickle", blob=await blobs.put(b"gone"))
        await blobs.discard((await edge.domain.tree.get(gone)).blob.digest)
        assert all([await blobs.purge(discarded) async for discarded in blobs.trash()])
        assert await codes(gone) == [("model_pickle_missing", "artifact_id")]
        garbage = await add(edge, type=MODEL_TYPE, content_type="application/x-pickle", blob=await blobs.put(b"no pickle"))
        assert await codes(garbage) == [("model_pickle_corrupted", "artifact_id")]
        script = await blobs.put(b"exit 0")
        whole = await workspace(edge, WorkspaceFile("train.sh", script.digest, script.size))
        assert await codes(await add(edge, type=MODEL_TYPE, content_type=WORKSPACE, blob=whole)) == []
        lacking = await workspace(edge, WorkspaceFile("model.bin", f"sha256:{'0' * 64}", 3))
        found = await codes(await add(edge, type=MODEL_TYPE, content_type=WORKSPACE, blob=lacking))
        assert found == [("training_workspace_corrupted", "artifact_id")]

    run(scenario)


def test_a_model_outlives_its_config_and_validation_says_so(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        config = await edge.config()
        blob = await edge.domain.blobs.put(b"\x80\x05K\x02.")
        fields: dict[str, Any] = {"type": MODEL_TYPE, "content_type": "application/x-pickle", "blob": blob}
        model = await add(edge, **fields, metadata={"config_id": config})
        request = runners.ValidateInputRequest(
            type=runners.VALIDATION_TYPE_PREDICT, artifact_id=model, historic=FRAME, future=FRAME
        )
        assert list((await edge.runners.ValidateInput(request)).diagnostics) == []
        await edge.configs.DeleteConfig(config_service_pb2.DeleteConfigRequest(config_id=config))
        answer = await edge.runners.ValidateInput(request)
        assert (answer.valid, [(one.severity, one.code) for one in answer.diagnostics]) == (
            True,
            [(runners.VALIDATION_SEVERITY_WARNING, "config_not_found")],
        )

    run(scenario)


def test_validation_misses_geography(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        request = runners.ValidateInputRequest(type=runners.VALIDATION_TYPE_TRAIN, config_id=await edge.config("other"), data=FRAME)
        answer = await edge.runners.ValidateInput(request)
        assert (answer.valid, [(one.code, one.field) for one in answer.diagnostics]) == (False, [("geo_missing", "geo")])

    run(scenario)


def test_validation_finds_every_horizon_out_of_bounds_and_every_empty_frame(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        nothing = frame_pb2.Frame(arrow=write_frame(pa.table({"x": pa.array([], pa.int64())})))

        async def found(**fields: Any) -> list[tuple[str, str, str]]:
            answer = await edge.runners.ValidateInput(runners.ValidateInputRequest(**fields))
            return [(one.code, one.field, one.message) for one in answer.diagnostics]

        predicting = {"type": runners.VALIDATION_TYPE_PREDICT, "artifact_id": await edge.model()}
        assert await found(**predicting, historic=nothing, future=nothing) == [
            ("historic_empty", "historic", "Historic data is empty"),
            ("future_empty", "future", "Future data is empty"),
        ]
        config = (await edge.domain.configs.create(name="far", data={"prediction_periods": 1001})).id
        training = {"type": runners.VALIDATION_TYPE_TRAIN, "config_id": config}
        code, bound = "prediction_periods_out_of_bounds", "exceeds the maximum allowed value (1000)"
        assert await found(**training, data=nothing) == [
            (code, "config.prediction_periods", f"prediction_periods (1001, from config) {bound}"),
            ("data_empty", "data", "Training data is empty"),
        ]
        run_info = run_info_pb2.RunInfo(prediction_periods=2000)
        assert await found(**training, data=FRAME, run_info=run_info) == [
            (code, "run_info.prediction_periods", f"prediction_periods (2000, from run_info) {bound}")
        ]
        periods = pa.table({"x": range(1001), "time_period": [str(number) for number in range(1001)]})
        future = frame_pb2.Frame(arrow=write_frame(periods))
        assert await found(**predicting, historic=FRAME, future=future) == [
            (code, "future", f"prediction_periods (1001, from future) {bound}")
        ]

    run(scenario)
