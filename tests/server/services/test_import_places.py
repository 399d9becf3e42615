"""Importing by address: files in the folders and buckets that the settings name, and in no others."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from imported_models import Canary, as_onnx, as_skops, classifier
from objectstore import ObjectStoreServer

from modelwire.v1 import model_service_pb2 as pb
from modelwire_server.errors import StartError
from modelwire_server.importing.places import sources_of


async def import_from(edge: Any, uri: str, **fields: Any) -> pb.ModelVersion:
    request = pb.ImportModelRequest(header=pb.ImportHeader(name="iris", uri=uri, **fields))
    version: pb.ModelVersion = (await edge.models.ImportModel(iter([request]))).version
    return version


async def refusal(edge: Any, uri: str) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as found:
        await import_from(edge, uri)
    assert not edge.unfinished()
    return found.value.code(), found.value.details() or ""


def test_files_of_a_folder(run: Any, tmp_path: Path) -> None:
    folder, other = tmp_path / "models", tmp_path / "models-of-others"
    folder.mkdir()
    other.mkdir()
    (folder / "in side.skops").write_bytes(as_skops(classifier()))
    (other / "outside.skops").write_bytes(as_skops(classifier()))
    (folder / "link.skops").symlink_to(other / "outside.skops")
    canary = Canary(tmp_path / "canary")
    (folder / "pickle.skops").write_bytes(canary.pickled())

    async def scenario(edge: Any) -> None:
        version = await import_from(edge, f"file://{folder}/in%20side.skops")
        assert (version.format, version.source) == ("skops", f"file://{folder}/in%20side.skops")
        assert (folder / "in side.skops").exists()
        outside = (
            f"file://{other}/outside.skops",
            f"file://{folder}/../models-of-others/outside.skops",
            f"file://{folder}/%2e%2e/models-of-others/outside.skops",
            f"file://{folder}/link.skops",
            f"file://elsewhere{folder}/in%20side.skops",
            f"file://{folder}",
            f"file://{folder}/none",
            "file:///etc/passwd",
            "file:///dev/zero",
            f"file://{folder}/%00",
            "file:",
        )
        for uri in outside:
            code, message = await refusal(edge, uri)
            assert (code, "is no file in the places" in message) == (grpc.StatusCode.INVALID_ARGUMENT, True), uri
        code, _ = await refusal(edge, f"file://{folder}/pickle.skops")
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert not canary.is_dead

    run(scenario, import_from=[str(folder)])


def test_large_files_stay_where_they_are(run: Any, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(70_000))

    async def scenario(edge: Any) -> None:
        code, _ = await refusal(edge, f"file://{tmp_path}/large")
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(scenario, import_from=[str(tmp_path)], max_import_bytes="64KiB")


def test_objects_of_a_bucket(run: Any, object_store: ObjectStoreServer) -> None:
    bucket = object_store.new_bucket()
    object_store.request("PUT", f"/{bucket}/models/iris.onnx", as_onnx(classifier()))
    object_store.request("PUT", f"/{bucket}/models-of-others/iris.onnx", as_onnx(classifier()))

    async def scenario(edge: Any) -> None:
        version = await import_from(edge, f"s3://{bucket}/models/iris.onnx")
        assert (version.format, version.source) == ("onnx", f"s3://{bucket}/models/iris.onnx")
        for uri in (
            f"s3://{bucket}/models-of-others/iris.onnx",
            f"s3://{bucket}/models/../models-of-others/iris.onnx",
            f"s3://{bucket}/models/none.onnx",
            f"s3://{bucket}/models/iris.onnx?endpoint=http://127.0.0.1:1",
            f"s3://other/{bucket}/models/iris.onnx",
            f"gs://{bucket}/models/iris.onnx",
        ):
            assert (await refusal(edge, uri))[0] is grpc.StatusCode.INVALID_ARGUMENT, uri

    run(scenario, import_from=[object_store.url(f"{bucket}/models")])


def test_a_bucket_that_does_not_answer_is_unavailable(run: Any, object_store: ObjectStoreServer) -> None:
    bucket = object_store.new_bucket()
    place = object_store.url(f"{bucket}/models").replace(str(urlsplit(object_store.endpoint).port), "1")

    async def scenario(edge: Any) -> None:
        assert (await refusal(edge, f"s3://{bucket}/models/iris.onnx"))[0] is grpc.StatusCode.UNAVAILABLE

    run(scenario, import_from=[place])


@pytest.mark.parametrize("place", ["ftp://example/models", "/nowhere/at/all", "s3://"])
def test_a_place_that_is_none_ends_the_start(place: str) -> None:
    with pytest.raises(StartError, match="import_from"):
        sources_of([place], 1)
