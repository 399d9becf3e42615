"""Workspaces are downloaded as zip files."""

import hashlib
import io
import stat
import zipfile
import zlib
from typing import Any

import pytest

from modelwire.v1 import artifact_service_pb2 as pb
from modelwire_server.artifacts.model import WORKSPACE, Artifact
from modelwire_server.artifacts.workspace import Workspace, WorkspaceFile, WorkspaceLink
from modelwire_server.clock import new_id, now

CONTENTS = {"a/large.bin": bytes(range(256)) * 10_000, "empty": b"", "run.sh": b"echo", "ü/ß.txt": b"text"}


async def workspace_of(edge: Any, *more: WorkspaceFile) -> str:
    """An artifact whose content is a workspace."""
    files = [await stored(edge, path, content) for path, content in CONTENTS.items()]
    workspace = Workspace((*files, *more), (WorkspaceLink("latest", "a/large.bin"),), ("nothing",))
    artifact = Artifact(
        id=new_id(),
        type="ml_training_workspace",
        content_type=WORKSPACE,
        blob=await edge.domain.blobs.put(workspace.to_json()),
        created_at=now(),
        updated_at=now(),
    )
    await edge.database.write(lambda tx: edge.domain.tree.insert_made(tx, artifact))
    return artifact.id


async def stored(edge: Any, path: str, content: bytes) -> WorkspaceFile:
    blob = await edge.domain.blobs.put(content)
    return WorkspaceFile(path, blob.digest, blob.size, 0o755 if path == "run.sh" else 0o644, zlib.crc32(content))


async def download(edge: Any, artifact_id: str, offset: int = 0) -> tuple[pb.DownloadHeader, bytes]:
    request = pb.DownloadArtifactRequest(artifact_id=artifact_id, offset=offset)
    first, *rest = [part async for part in edge.artifacts.DownloadArtifact(request)]
    assert max((len(part.chunk) for part in rest), default=0) <= 1 << 20
    return first.header, b"".join(part.chunk for part in rest)


def test_a_workspace_comes_as_a_zip_file(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        artifact_id = await workspace_of(edge)
        header, content = await download(edge, artifact_id)
        assert (header.content_type, header.content_size) == ("application/zip", len(content))
        assert header.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert header.filename == f"artifact_{artifact_id}.zip"
        archive = zipfile.ZipFile(io.BytesIO(content))
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in CONTENTS} == CONTENTS
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        assert (oct(modes["run.sh"]), stat.S_ISLNK(modes["latest"]), stat.S_ISDIR(modes["nothing/"])) == ("0o100755", True, True)
        assert archive.read("latest") == b"a/large.bin"

    run(scenario)


def test_a_download_goes_on_where_it_stopped(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        artifact_id = await workspace_of(edge)
        header, content = await download(edge, artifact_id)
        for offset in (1, 1 << 20, len(content) - 1, len(content)):
            again, rest = await download(edge, artifact_id, offset)
            assert again == header
            assert content[:offset] + rest == content

    run(scenario)


@pytest.mark.parametrize(
    "broken",
    [
        WorkspaceFile("gone", f"sha256:{'0' * 64}", 1),
        WorkspaceFile("empty-no-more", f"sha256:{hashlib.sha256(b'').hexdigest()}", 5),
    ],
)
def test_what_was_changed_is_not_sent(run: Any, refusal: Any, broken: WorkspaceFile) -> None:
    async def scenario(edge: Any) -> None:
        request = pb.DownloadArtifactRequest(artifact_id=await workspace_of(edge, broken))
        found = await refusal(edge.artifacts.DownloadArtifact(request))
        assert (found.code, found.reason) == ("DATA_LOSS", "CONTENT_CORRUPTED")

    run(scenario)
