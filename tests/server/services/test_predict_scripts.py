"""Predictions at once by models that are workspaces."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import psutil
import pyarrow as pa
import pytest

from modelwire.v1 import frame_pb2
from modelwire.v1 import predict_service_pb2 as pb
from modelwire_server.artifacts.model import MODEL_TYPE, WORKSPACE, Artifact, ArtifactInput
from modelwire_server.artifacts.workspace import Workspace, WorkspaceFile, WorkspaceLink
from modelwire_server.clock import new_id, now
from modelwire_server.frames import FrameLimits, read_frame, write_frame

SERVICE = """
from pathlib import Path
from modelwire_runners import RunnerInfo, ShellModelRunner

scripted = ShellModelRunner(":", "sh predict.sh {future_file} {output_file} '{geo_file}'", info=RunnerInfo(id="scripted"))
"""
ADD_COLUMN = """sed "s/$/,$(cat answer)/; 1s/,[^,]*$/,sample_0/" $1 > $2"""


def arrow(**columns: Any) -> frame_pb2.Frame:
    return frame_pb2.Frame(arrow=write_frame(pa.table(columns)))


def table_of(frame: bytes) -> dict[str, Any]:
    values: dict[str, Any] = read_frame(frame, FrameLimits(), "predictions").to_pydict()
    return values


@pytest.fixture
def targets(tmp_path: Path) -> list[str]:
    name = f"service_of_{tmp_path.name}"
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / f"{name}.py").write_text(SERVICE)
    return [f"{tmp_path / 'project' / name}.py:scripted"]


async def model_of(edge: Any, script: str, *more: WorkspaceFile) -> str:
    """A trained model, as if a job had made it."""
    blobs = edge.domain.blobs
    contents = {"predict.sh": script, "data/answer": "42\n"}
    stored = {path: await blobs.put(text.encode()) for path, text in sorted(contents.items())}
    workspace = Workspace(
        files=(*(WorkspaceFile(path, blob.digest, blob.size) for path, blob in stored.items()), *more),
        links=(WorkspaceLink("answer", "data/answer"),),
    )
    model = Artifact(
        id=new_id(),
        type=MODEL_TYPE,
        content_type=WORKSPACE,
        blob=await blobs.put(workspace.to_json()),
        inputs=(ArtifactInput("job", new_id()),),
        runner_id="scripted",
        metadata={"config": {"prediction_periods": 2}},
        created_at=now(),
        updated_at=now(),
    )
    await edge.database.write(lambda tx: edge.domain.tree.insert_made(tx, model))
    return model.id


def left(edge: Any) -> list[Path]:
    """What calls have left behind, beside the folder for files that are shared."""
    return [path for path in edge.unfinished() if path.name != "shared"]


def test_a_script_predicts_at_once(run: Any, targets: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        model = await model_of(edge, ADD_COLUMN)
        requests = [pb.PredictRequest(model=model, future=arrow(code=["001", f"00{n}"])) for n in range(4)]
        answers = await asyncio.gather(*(edge.predictions.Predict(request) for request in requests))
        assert [table_of(answer.predictions.arrow) for answer in answers] == [
            {"code": ["001", f"00{n}"], "sample_0": [42, 42]} for n in range(4)
        ]
        assert left(edge) == []

    run(scenario, targets=targets)


def test_a_script_predicts_on_a_stream(run: Any, targets: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        model = await model_of(edge, ADD_COLUMN)
        whole = pb.PredictRequest(model=model, future=arrow(code=["001"]))
        parts = [
            pb.PredictStreamRequest(call=1, whole=whole),
            pb.PredictStreamRequest(call=2, header=pb.PredictRequest(model=model)),
            pb.PredictStreamRequest(call=2, future=whole.future.arrow),
            pb.PredictStreamRequest(call=2, end=pb.PredictStreamEnd()),
        ]
        answers = [answer async for answer in edge.predictions.PredictStream(iter(parts))]
        chunked = b"".join(answer.predictions for answer in answers if answer.WhichOneof("part") == "predictions")
        (first,) = (answer.whole for answer in answers if answer.WhichOneof("part") == "whole")
        assert table_of(first.predictions.arrow) == table_of(chunked) == {"code": ["001"], "sample_0": [42]}

    run(scenario, targets=targets)


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        ("echo no answer >&2; exit 3", "RUNNER_EXITED", "predict script failed with exit code 3; stderr tail: no answer"),
        (":", "RUNNER_FAILED", "the predict script did not write predictions.csv"),
        ("echo x > $2", "INVALID_PREDICTION", "0 rows for the 1 rows"),
    ],
)
def test_what_a_script_does_wrong(run: Any, refusal: Any, targets: list[str], script: str, reason: str, words: str) -> None:
    async def scenario(edge: Any) -> None:
        request = pb.PredictRequest(model=await model_of(edge, script), future=arrow(code=["001"]))
        found = await refusal(edge.predictions.Predict(request))
        assert (found.code, found.reason) == ("INTERNAL", reason)
        assert words in found.message
        assert "artifact" not in found.message, "nothing is kept"
        assert left(edge) == []

    run(scenario, targets=targets)


def test_files_that_are_gone_are_told(run: Any, refusal: Any, targets: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        model = await model_of(edge, ADD_COLUMN, WorkspaceFile("weights", f"sha256:{'0' * 64}", 7))
        found = await refusal(edge.predictions.Predict(pb.PredictRequest(model=model, future=arrow(code=["001"]))))
        assert (found.code, found.reason) == ("DATA_LOSS", "CONTENT_CORRUPTED")
        assert left(edge) == []

    run(scenario, targets=targets)


@pytest.mark.parametrize("by_deadline", [False, True])
def test_a_caller_that_goes_ends_the_script(run: Any, targets: list[str], tmp_path: Path, by_deadline: bool) -> None:
    async def scenario(edge: Any) -> None:
        script = f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 600"
        request = pb.PredictRequest(model=await model_of(edge, script), future=arrow(code=["001"]))
        # Long enough for the fork server to start.
        call = edge.predictions.Predict(request, timeout=20 if by_deadline else None)
        while not (tmp_path / "pid").exists():  # noqa: ASYNC110 - it comes from another process
            await asyncio.sleep(0.01)
        if by_deadline:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await edge.predictions.Predict(request, timeout=1.0)
            assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        call.cancel()
        await edge.left_by_all("PredictService", "Predict")
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
        assert left(edge) == []

    run(scenario, targets=targets)


def test_a_job_with_such_a_model_gets_its_files(run: Any, targets: list[str], tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        model = await model_of(edge, ADD_COLUMN)
        request = pb.SubmitPredictionRequest(artifact_id=model, historic=arrow(code=["001"]), future=arrow(code=["001"]))
        job = await edge.domain.jobs.get((await edge.predictions.SubmitPrediction(request)).job_id)
        folder = edge.domain.blobs.scratch / "job"
        folder.mkdir()
        spec = await edge.domain.prediction.prepare(job, folder)
        assert spec.artifact_id == job.artifact_id
        assert spec.model is not None
        assert spec.parts is not None
        files = Workspace.from_json(spec.model.read_bytes()).files
        contents = [(spec.parts / file.digest.removeprefix("sha256:")).read_text() for file in files]
        assert contents == ["42\n", ADD_COLUMN]

    run(scenario, targets=targets)
