"""ArtifactService over the wire: the tree, and content of any size."""

import hashlib
from collections.abc import Iterator
from typing import Any

import grpc
import pyarrow as pa
import pytest
from google.protobuf.struct_pb2 import Struct, Value

from modelwire.v1 import artifact_pb2
from modelwire.v1 import artifact_service_pb2 as pb
from modelwire_server.clock import new_id
from modelwire_server.frames import write_frame

ARROW = "application/vnd.apache.arrow.stream"


def struct(**values: Any) -> Struct:
    made = Struct()
    made.update(values)
    return made


def upload(content: bytes, size: int = 1000, **header: Any) -> Iterator[pb.UploadArtifactRequest]:
    yield pb.UploadArtifactRequest(header=pb.UploadHeader(**header))
    for at in range(0, len(content), size):
        yield pb.UploadArtifactRequest(chunk=content[at : at + size])


async def create(edge: Any, **fields: Any) -> artifact_pb2.Artifact:
    request = pb.CreateArtifactRequest(data=artifact_pb2.ArtifactData(type="note"), **fields)
    return (await edge.artifacts.CreateArtifact(request)).artifact


async def download(edge: Any, artifact_id: str, offset: int = 0) -> tuple[pb.DownloadHeader, list[bytes]]:
    call = edge.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(artifact_id=artifact_id, offset=offset))
    parts = [part async for part in call]
    return parts[0].header, [part.chunk for part in parts[1:]]


def test_json_content_is_in_the_answer_of_get_alone(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        content = Value(struct_value=struct(scores=[1, 2.5], note=None))
        data = artifact_pb2.ArtifactData(type="note", content=content, metadata=struct(by="me"))
        made = (await edge.artifacts.CreateArtifact(pb.CreateArtifactRequest(data=data, tags=["a"]))).artifact
        assert made.data.content == content
        assert made.data.content_type == "application/json"
        read = (await edge.artifacts.GetArtifact(pb.GetArtifactRequest(artifact_id=made.id))).artifact
        assert read == made
        (listed,) = (await edge.artifacts.ListArtifacts(pb.ListArtifactsRequest(type="note"))).artifacts
        assert not listed.data.HasField("content")
        assert listed.data.digest == made.data.digest
        _, chunks = await download(edge, made.id)
        assert b"".join(chunks) == b'{"note": null, "scores": [1, 2.5]}'

    run(scenario)


def test_an_artifact_without_content(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        made = await create(edge)
        assert not made.data.HasField("content_size")
        call = edge.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(artifact_id=made.id))
        assert (await refusal(call)).reason == "NO_CONTENT"

    run(scenario)


def test_the_tree(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        root = await create(edge)
        child = await create(edge, parent_id=root.id.lower())
        leaf = await create(edge, parent_id=child.id)
        assert (child.parent_id, child.level, leaf.level) == (root.id, 1, 2)
        tree = (await edge.artifacts.GetArtifactTree(pb.GetArtifactTreeRequest(artifact_id=root.id))).node
        assert tree.children[0].children[0].id == leaf.id
        assert (tree.level_label, tree.children[0].level_label, tree.children[0].children[0].level_label) == (
            "ml_training",
            "ml_prediction",
            "level_2",
        )
        node = (await edge.artifacts.ExpandArtifact(pb.ExpandArtifactRequest(artifact_id=root.id))).node
        assert (node.id, len(node.children)) == (root.id, 0)
        cycle = await refusal(edge.artifacts.UpdateArtifact(pb.UpdateArtifactRequest(artifact_id=root.id, parent_id=leaf.id)))
        assert (cycle.code, cycle.reason) == ("FAILED_PRECONDITION", "ARTIFACT_CYCLE")
        freed = await edge.artifacts.UpdateArtifact(pb.UpdateArtifactRequest(artifact_id=leaf.id, parent_id="", tags=["free"]))
        assert not freed.artifact.HasField("parent_id")
        assert freed.artifact.level == 0
        kept = await edge.artifacts.UpdateArtifact(pb.UpdateArtifactRequest(artifact_id=child.id, metadata=struct(a=1)))
        assert (kept.artifact.parent_id, kept.artifact.data.metadata["a"]) == (root.id, 1)
        metadata = await edge.artifacts.GetArtifactMetadata(pb.GetArtifactMetadataRequest(artifact_id=child.id))
        assert dict(metadata.metadata) == {"a": 1}
        await edge.artifacts.DeleteArtifact(pb.DeleteArtifactRequest(artifact_id=root.id))
        assert (await edge.artifacts.GetArtifactStats(pb.GetArtifactStatsRequest())).total == 2
        orphan = (await edge.artifacts.GetArtifact(pb.GetArtifactRequest(artifact_id=child.id))).artifact
        assert (orphan.HasField("parent_id"), orphan.level) == (False, 1)

    run(scenario)


def test_the_config_of_an_artifact(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        model, config = await edge.model(), await edge.config()
        request = pb.GetArtifactConfigRequest(artifact_id=model)
        assert (await refusal(edge.artifacts.GetArtifactConfig(request))).reason == "NOT_LINKED"
        await edge.domain.configs.link(config, model)
        assert (await edge.artifacts.GetArtifactConfig(request)).config.id == config

    run(scenario)


@pytest.mark.parametrize(
    ("request_", "reason", "fields"),
    [
        (pb.CreateArtifactRequest(), "INVALID_FIELD", ["data"]),
        (pb.CreateArtifactRequest(data={"content_type": "text/plain"}), "INVALID_FIELD", ["data.content_type"]),
        (pb.CreateArtifactRequest(data={}, id="no", parent_id="no"), "INVALID_ID", ["id", "parent_id"]),
        (pb.CreateArtifactRequest(data={"type": "t" * 201}), "INVALID_FIELD", ["data.type"]),
        (pb.CreateArtifactRequest(data={}, parent_id=new_id()), "PARENT_NOT_FOUND", []),
        (
            pb.CreateArtifactRequest(data=artifact_pb2.ArtifactData(content=Value(string_value="x" * (1 << 20)))),
            "INVALID_FIELD",
            ["data.content"],
        ),
    ],
)
def test_what_cannot_be_created(run: Any, refusal: Any, request_: Any, reason: str, fields: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        found = await refusal(edge.artifacts.CreateArtifact(request_))
        assert (found.reason, found.fields) == (reason, fields)

    run(scenario)


def test_content_goes_up_and_down(run: Any) -> None:
    content = bytes(range(256)) * 10_000

    async def scenario(edge: Any) -> None:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        parts = upload(content, 1 << 20, content_type="application/zip", digest=digest.upper().replace("SHA", "sha"), tags=["up"])
        made = (await edge.artifacts.UploadArtifact(parts)).artifact
        assert (made.data.type, made.data.content_size, made.data.digest) == ("generic", len(content), digest)
        header, chunks = await download(edge, made.id)
        assert b"".join(chunks) == content
        assert max(map(len, chunks)) <= 1 << 20
        assert (header.content_type, header.content_size, header.digest) == ("application/zip", len(content), digest)
        assert header.filename == f"artifact_{made.id}.zip"
        _, rest = await download(edge, made.id, offset=len(content) - 7)
        assert b"".join(rest) == content[-7:]
        assert (await download(edge, made.id, offset=len(content)))[1] == []
        assert edge.unfinished() == []

    run(scenario)


def test_an_empty_file_is_content_too(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        made = (await edge.artifacts.UploadArtifact(upload(b""))).artifact
        assert (made.data.content_size, made.data.content_type) == (0, "application/octet-stream")

    run(scenario)


def test_frames_are_checked_and_become_datasets(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        frame = write_frame(pa.table({"x": [1, 2]}))
        made = (await edge.artifacts.UploadArtifact(upload(frame, content_type=ARROW))).artifact
        assert made.data.type == "dataset"
        broken = await refusal(edge.artifacts.UploadArtifact(upload(frame[:-20], content_type=ARROW)))
        assert (broken.code, broken.reason) == ("INVALID_ARGUMENT", "INVALID_FRAME")
        assert (await edge.artifacts.GetArtifactStats(pb.GetArtifactStatsRequest())).total == 1
        assert edge.unfinished() == []

    run(scenario)


@pytest.mark.parametrize(
    ("parts", "reason", "fields"),
    [
        ([], "INVALID_FIELD", ["header"]),
        ([pb.UploadArtifactRequest(chunk=b"x")], "INVALID_FIELD", ["header"]),
        ([pb.UploadArtifactRequest()], "INVALID_FIELD", ["header"]),
        ([*upload(b"x"), *upload(b"y")], "INVALID_FIELD", ["part"]),
        ([*upload(bytes(5 << 20), 5 << 20)], "INVALID_FIELD", ["chunk"]),
        ([*upload(b"x", digest="md5:abc")], "INVALID_FIELD", ["digest"]),
        ([*upload(b"x", content_type="a picture")], "INVALID_FIELD", ["content_type"]),
        ([*upload(b"x", content_type="text/plain; charset=\u00fc")], "INVALID_FIELD", ["content_type"]),
        ([*upload(b"x", content_type="text/plain\r\nx-evil: 1")], "INVALID_FIELD", ["content_type"]),
        ([*upload(b"x", digest="sha256:" + "0" * 64)], "DIGEST_MISMATCH", ["digest"]),
        ([*upload(b"x" * 20_001)], "CONTENT_TOO_LARGE", []),
        ([*upload(b"x", parent_id=new_id())], "PARENT_NOT_FOUND", []),
    ],
)
def test_what_cannot_be_uploaded(run: Any, refusal: Any, parts: Any, reason: str, fields: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        found = await refusal(edge.artifacts.UploadArtifact(iter(parts)))
        assert (found.reason, found.fields) == (reason, fields)
        assert (await edge.artifacts.GetArtifactStats(pb.GetArtifactStatsRequest())).total == 0
        assert edge.unfinished() == []

    run(scenario, max_artifact_bytes=20_000)


@pytest.mark.parametrize("offset", [-1, 4])
def test_an_offset_outside_the_content(run: Any, refusal: Any, offset: int) -> None:
    async def scenario(edge: Any) -> None:
        made = (await edge.artifacts.UploadArtifact(upload(b"abc"))).artifact
        call = edge.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(artifact_id=made.id, offset=offset))
        assert (await refusal(call)).fields == ["offset"]

    run(scenario)


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_damaged_content_is_told(run: Any, refusal: Any, damage: str) -> None:
    async def scenario(edge: Any) -> None:
        made = (await edge.artifacts.UploadArtifact(upload(b"abc"))).artifact
        blobs = edge.domain.blobs
        if damage == "gone":
            await blobs.discard(made.data.digest)
            assert [await blobs.purge(one) async for one in blobs.trash()] == [True]
        else:
            path = await blobs.local_path(made.data.digest)
            path.unlink()
            path.write_bytes(b"ab")
        found = await refusal(edge.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(artifact_id=made.id)))
        assert (found.code, found.reason) == ("DATA_LOSS", "CONTENT_CORRUPTED")

    run(scenario)


def test_an_upload_that_is_given_up_leaves_nothing(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        call = edge.artifacts.UploadArtifact()
        await call.write(pb.UploadArtifactRequest(header=pb.UploadHeader()))
        await call.write(pb.UploadArtifactRequest(chunk=b"x" * 100))
        call.cancel()
        await edge.left_by_all("ArtifactService", "UploadArtifact")
        assert edge.unfinished() == []
        assert (await edge.artifacts.GetArtifactStats(pb.GetArtifactStatsRequest())).total == 0
        assert await call.code() is grpc.StatusCode.CANCELLED

    run(scenario)
