"""ImportModel over the wire: files of models become versions, and nothing that a stranger wrote is run on the way."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy
import skops.io
from google.protobuf import struct_pb2
from imported_models import IRIS, SPECIES, Canary, as_onnx, as_skops, classifier, with_outside_data, zipped
from sklearn.naive_bayes import GaussianNB

from modelwire.v1 import artifact_pb2, artifact_service_pb2, frame_pb2, predict_service_pb2
from modelwire.v1 import model_service_pb2 as pb
from modelwire_server.frames import write_frame

WEIGHTED = f"{Path(__file__).parent / 'weighted.py'}:runner"
ROWS = pa.Table.from_pandas(IRIS.head(3), preserve_index=False)


class OwnClassifier(GaussianNB):
    """A type that no library has."""


async def parts(header: pb.ImportHeader, chunks: Iterable[bytes]) -> AsyncIterator[pb.ImportModelRequest]:
    yield pb.ImportModelRequest(header=header)
    for chunk in chunks:
        yield pb.ImportModelRequest(chunk=chunk)


async def import_model(edge: Any, content: bytes, **fields: Any) -> pb.ModelVersion:
    header = pb.ImportHeader(**{"name": "iris", **fields})
    version: pb.ModelVersion = (await edge.models.ImportModel(parts(header, [content] if content else []))).version
    return version


async def refused(edge: Any, content: bytes, **fields: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await import_model(edge, content, **fields)
    return refusal.value.code(), refusal.value.details() or ""


async def predict(edge: Any, model: str, rows: pa.Table = ROWS) -> pa.Table:
    request = predict_service_pb2.PredictRequest(model=model, future=frame_pb2.Frame(arrow=write_frame(rows)))
    answer = await edge.predictions.Predict(request)
    return pa.ipc.open_stream(answer.predictions.arrow).read_all()


async def nothing_is_kept(edge: Any) -> None:
    assert not (await edge.models.ListModels(pb.ListModelsRequest())).models
    assert (await edge.artifacts.GetArtifactStats(artifact_service_pb2.GetArtifactStatsRequest())).total == 0
    assert not edge.unfinished()


def test_a_file_of_skops_becomes_a_version_that_predicts(run: Any) -> None:
    model = classifier()

    async def scenario(edge: Any) -> None:
        version = await import_model(edge, as_skops(model), alias="production", metrics={"accuracy": 0.97}, target="species")
        assert (version.name, version.version, version.aliases) == ("iris", 1, ["production"])
        assert (version.format, version.source, version.grant, version.runner_id) == ("skops", "upload", "", "imported")
        assert (version.algorithm, version.framework, version.target) == ("LogisticRegression", "scikit-learn", "species")
        assert list(version.features) == list(IRIS.columns)
        assert [dict(one)["type"] for one in version.signature["outputs"]] == ["int64", "double", "double", "double", "double"]
        for reference in ("iris", "iris/1", version.artifact_id):
            assert (await predict(edge, reference))["prediction"].to_pylist() == model.predict(IRIS.head(3)).tolist()

    run(scenario)


@pytest.mark.parametrize("content", [as_skops(classifier()), as_onnx(classifier())], ids=["skops", "onnx"])
def test_columns_may_come_in_any_order_and_each_missing_one_is_named(run: Any, content: bytes) -> None:
    async def scenario(edge: Any) -> None:
        await import_model(edge, content, features=list(IRIS.columns), alias="production")
        backwards = ROWS.select(ROWS.column_names[::-1]).append_column("more", pa.array(["a", "b", "c"]))
        assert (await predict(edge, "iris", backwards)).equals(await predict(edge, "iris"))
        with pytest.raises(grpc.aio.AioRpcError, match="'petal_length' is missing") as refusal:
            await predict(edge, "iris", ROWS.drop_columns(["petal_length"]))
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(scenario)


def test_a_graph_without_names_takes_its_columns_in_order(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        version = await import_model(edge, as_onnx(classifier()), alias="production")
        assert (version.format, list(version.features)) == ("onnx", [])
        assert (await predict(edge, "iris"))["prediction"].to_pylist() == [0, 0, 0]
        with pytest.raises(grpc.aio.AioRpcError, match="has 3 columns, and the model was made with 4") as refusal:
            await predict(edge, "iris", ROWS.drop_columns(["petal_length"]))
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(scenario)


def test_weights_go_to_the_runner_that_they_are_for(run: Any) -> None:
    content = safetensors.numpy.save({"factor": np.array(3.0)})

    async def scenario(edge: Any) -> None:
        code, message = await refused(edge, content)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "name the runner" in message
        version = await import_model(edge, content, runner_id="weighted", alias="production")
        assert (version.format, version.runner_id) == ("safetensors", "weighted")
        assert (await predict(edge, "iris", pa.table({"x": [1.0, 2.0]})))["y"].to_pylist() == [3.0, 6.0]

    run(scenario, targets=[WEIGHTED])


@pytest.mark.parametrize("declared", ["", "skops", "onnx", "safetensors", "cloudpickle"])
def test_no_disguise_is_run_whatever_it_is_called(run: Any, tmp_path: Path, declared: str) -> None:
    canary = Canary(tmp_path / "canary")

    async def scenario(edge: Any) -> None:
        for name, content in canary.disguises().items():
            code, message = await refused(edge, content, format=declared)
            assert not canary.is_dead, name
            assert code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT), (name, message)
        await nothing_is_kept(edge)

    run(scenario)


def test_a_grant_alone_opens_nothing(run: Any, tmp_path: Path) -> None:
    canary = Canary(tmp_path / "canary")

    async def scenario(edge: Any) -> None:
        for name, content in canary.disguises().items():
            code, message = await refused(edge, content, grant="I made it myself")
            assert not canary.is_dead, name
            assert code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT), (name, message)
        code, message = await refused(edge, canary.predicting(), grant="I made it myself")
        assert (code, "trust_grants" in message) == (grpc.StatusCode.PERMISSION_DENIED, True)
        await nothing_is_kept(edge)

    run(scenario)


def test_a_server_that_trusts_grants_needs_one(run: Any, tmp_path: Path) -> None:
    canary = Canary(tmp_path / "canary")

    async def scenario(edge: Any) -> None:
        for name, content in canary.disguises().items():
            code, message = await refused(edge, content)
            assert not canary.is_dead, name
            assert code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT), (name, message)
        await nothing_is_kept(edge)

    run(scenario, trust_grants=True)


def test_a_granted_pickle_is_read_and_the_grant_is_recorded(run: Any, tmp_path: Path) -> None:
    """Which also proves that the canary would not survive if anything else had read it."""
    canary = Canary(tmp_path / "canary")

    async def scenario(edge: Any) -> None:
        version = await import_model(edge, canary.predicting(), grant="made by the team, see ticket 7", alias="production")
        assert canary.is_dead
        assert (version.format, version.grant) == ("cloudpickle", "made by the team, see ticket 7")
        assert (await predict(edge, "iris"))["prediction"].to_pylist() == [0, 0, 0]
        call = edge.models.WatchModels(pb.WatchModelsRequest())
        told = [await call.read() for _ in range(2)]
        call.cancel()
        assert [(one.kind, one.grant) for one in told] == [
            (pb.MODEL_EVENT_KIND_REGISTERED, "made by the team, see ticket 7"),
            (pb.MODEL_EVENT_KIND_PROMOTED, ""),
        ]

    run(scenario, trust_grants=True)


def test_a_grant_is_for_types_of_others_too_and_kept_only_where_it_was_needed(run: Any) -> None:
    own = skops.io.dumps(OwnClassifier().fit(IRIS, SPECIES))

    async def scenario(edge: Any) -> None:
        code, message = await refused(edge, own)
        assert (code, "OwnClassifier" in message) == (grpc.StatusCode.PERMISSION_DENIED, True)
        assert (await import_model(edge, own, grant="ours")).grant == "ours"
        assert (await import_model(edge, as_skops(classifier()), grant="ours")).grant == ""

    run(scenario, trust_grants=True)


def test_an_uploaded_file_is_no_model_however_it_is_called(run: Any, tmp_path: Path) -> None:
    canary = Canary(tmp_path / "canary")

    async def upload(edge: Any, content: bytes, content_type: str) -> str:
        async def messages() -> AsyncIterator[artifact_service_pb2.UploadArtifactRequest]:
            metadata = struct_pb2.Struct()
            metadata.update({"format": "cloudpickle", "grant": "mine", "source": "upload", "status": "success"})
            header = artifact_service_pb2.UploadHeader(type="ml_training", content_type=content_type, metadata=metadata)
            yield artifact_service_pb2.UploadArtifactRequest(header=header)
            yield artifact_service_pb2.UploadArtifactRequest(chunk=content)

        return (await edge.artifacts.UploadArtifact(messages())).artifact.id  # type: ignore[no-any-return]

    async def create(edge: Any) -> str:
        data = artifact_pb2.ArtifactData(type="ml_training", content=struct_pb2.Value(string_value="a"))
        return (await edge.artifacts.CreateArtifact(artifact_service_pb2.CreateArtifactRequest(data=data))).artifact.id  # type: ignore[no-any-return]

    async def scenario(edge: Any) -> None:
        types = ("application/x-pickle", "application/x-skops", "application/x-onnx")
        made = [await upload(edge, content, kind) for content in canary.disguises().values() for kind in types]
        for artifact_id in [*made, await create(edge)]:
            for ask in (
                predict(edge, artifact_id),
                edge.models.RegisterModelVersion(pb.RegisterModelVersionRequest(name="iris", artifact_id=artifact_id)),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await ask
                assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED
                assert not canary.is_dead

    run(scenario, trust_grants=True)


def test_metadata_gives_no_grant(run: Any, tmp_path: Path) -> None:
    """What anybody may change does not say how content is read."""

    async def scenario(edge: Any) -> None:
        version = await import_model(edge, as_skops(classifier()), alias="production")
        metadata = struct_pb2.Struct()
        metadata.update({"format": "cloudpickle", "grant": "mine", "signature": {"inputs": "none"}, "config": {}})
        await edge.artifacts.UpdateArtifact(
            artifact_service_pb2.UpdateArtifactRequest(artifact_id=version.artifact_id, metadata=metadata)
        )
        assert (await predict(edge, "iris"))["prediction"].to_pylist() == [0, 0, 0]
        assert (await edge.models.GetModelVersion(pb.GetModelVersionRequest(name="iris", version="1"))).version == version

    run(scenario)


def test_a_graph_that_reads_other_files_is_refused(run: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(16))

    async def scenario(edge: Any) -> None:
        code, message = await refused(edge, with_outside_data(str(secret)), grant="mine")
        assert (code, "other files" in message) == (grpc.StatusCode.PERMISSION_DENIED, True)
        await nothing_is_kept(edge)

    run(scenario, trust_grants=True)


def test_files_have_a_limit(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        code, _ = await refused(edge, bytes(70_000))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        code, message = await refused(edge, b"(" * (5 << 20))
        assert (code, "in one chunk" in message) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        await nothing_is_kept(edge)

    run(scenario, max_import_bytes="64KiB")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"format": "joblib"}, "format"),
        ({"format": "onnx"}, "format"),
        ({"alias": "3"}, "alias"),
        ({"digest": "md5:1"}, "digest"),
        ({"digest": "sha256:" + 64 * "0"}, "digest"),
        ({"tags": ["a b"]}, "tags"),
        ({"stage": 9}, "stage"),
        ({"metrics": {"a": float("nan")}}, "metrics"),
        ({"signature": {"inputs": "none"}}, "signature"),
        ({"features": ["a"]}, "features"),
        ({"uri": "mlflow"}, "uri"),
        ({"uri": "file:///etc/passwd"}, "uri"),
    ],
)
def test_what_is_wrong_is_named(run: Any, fields: dict[str, Any], field: str) -> None:
    async def scenario(edge: Any) -> None:
        content = b"" if "uri" in fields else as_skops(classifier())
        code, message = await refused(edge, content, **fields)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert field in message
        await nothing_is_kept(edge)

    run(scenario)


def test_a_stream_is_a_header_and_chunks(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        chunk, header = pb.ImportModelRequest(chunk=b"a"), pb.ImportModelRequest(header=pb.ImportHeader(name="iris"))
        at = pb.ImportModelRequest(header=pb.ImportHeader(name="iris", uri="mlflow:iris"))
        for messages in ([], [chunk], [header], [header, header], [header, pb.ImportModelRequest()], [at, chunk]):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await edge.models.ImportModel(iter(messages))
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await nothing_is_kept(edge)

    run(scenario)


def test_an_unknown_runner_is_named(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        code, message = await refused(edge, as_skops(classifier()), runner_id="nobody")
        assert (code, "`nobody` is not served" in message) == (grpc.StatusCode.FAILED_PRECONDITION, True)

    run(scenario)


def test_a_retry_imports_once(run: Any) -> None:
    content = as_skops(classifier())

    async def scenario(edge: Any) -> None:
        one = await import_model(edge, content, request_id="r")
        two = await import_model(edge, content, request_id="r")
        assert one == two
        code, message = await refused(edge, as_onnx(classifier()), request_id="r")
        assert (code, "another request" in message) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        assert (await edge.artifacts.GetArtifactStats(artifact_service_pb2.GetArtifactStatsRequest())).total == 1

    run(scenario)


def test_an_alias_is_pointed_to_it_through_the_gate(run: Any) -> None:
    content = as_skops(classifier())

    async def scenario(edge: Any) -> None:
        await import_model(edge, content, alias="production", metrics={"accuracy": 0.9})
        gate = pb.PromotionGate(metrics={"accuracy": pb.MetricBounds(minimum=0.8)})
        await edge.models.UpdateModel(pb.UpdateModelRequest(name="iris", gate=gate))
        code, message = await refused(edge, content, alias="production", metrics={"accuracy": 0.1})
        assert (code, "accuracy" in message) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        model = (await edge.models.GetModel(pb.GetModelRequest(name="iris"))).model
        assert (model.latest_version, dict(model.aliases)) == (2, {"production": 1})

    run(scenario)


def test_a_zip_that_is_no_skops_is_of_no_format(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        code, message = await refused(edge, zipped({"model.txt": b"a"}))
        assert (code, "no format that is known" in message) == (grpc.StatusCode.INVALID_ARGUMENT, True)

    run(scenario)
