"""Workspaces over the wire: lists of files in the store, zip files on their way."""

import hashlib
import io
import os
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelwire.v1 import artifact_service_pb2 as pb
from modelwire_server.artifacts.model import TRAINING_WORKSPACE_TYPE, WORKSPACE, Artifact
from modelwire_server.artifacts.tree import NewArtifact
from modelwire_server.artifacts.workspace import Workspace, WorkspaceFile, WorkspaceLink
from modelwire_server.clock import new_id, now

FILES = {
    "config.yml": (b"depth: 3\n", 0o644),
    "data/empty.csv": (b"", 0o600),
    "train.sh": (b"#!/bin/sh\n", 0o755),
    "ümläut 文.txt": (b"text", 0o644),
    "a \\ b\n c": (b"odd", 0o644),
    "large.bin": (os.urandom(3_000_000), 0o444),
}
LINKS = {"latest": "data/empty.csv", "data/up": "../config.yml"}
FOLDERS = ("logs", "out/empty")


async def stored(edge: Any, files: dict[str, tuple[bytes, int]], links: dict[str, str], folders: tuple[str, ...]) -> Artifact:
    """A workspace, as if a job had left it."""
    found = []
    for path, (content, mode) in sorted(files.items()):
        blob = await edge.domain.blobs.put(content)
        found.append(WorkspaceFile(path, blob.digest, blob.size, mode, zlib.crc32(content)))
    listed = Workspace(found, [WorkspaceLink(path, target) for path, target in sorted(links.items())], sorted(folders))
    made = Artifact(
        id=new_id(),
        type=TRAINING_WORKSPACE_TYPE,
        content_type=WORKSPACE,
        blob=await edge.domain.blobs.put(listed.to_json()),
        created_at=now(),
        updated_at=now(),
    )
    await edge.database.write(lambda tx: edge.domain.tree.insert_made(tx, made))
    return made


async def download(edge: Any, artifact_id: str, offset: int = 0) -> tuple[pb.DownloadHeader, bytes]:
    call = edge.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(artifact_id=artifact_id, offset=offset))
    parts = [part async for part in call]
    assert all(len(part.chunk) <= 1 << 20 for part in parts)
    return parts[0].header, b"".join(part.chunk for part in parts[1:])


def test_a_workspace_is_downloaded_as_a_zip_file(run: Any, tmp_path: Path) -> None:
    async def scenario(edge: Any) -> None:
        made = await stored(edge, FILES, LINKS, FOLDERS)
        header, content = await download(edge, made.id)
        assert header.content_type == "application/zip"
        assert header.filename == f"artifact_{made.id}.zip"
        assert header.content_size == len(content)
        assert header.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == {
                **{path: content for path, (content, _) in FILES.items()},
                **{path: target.encode() for path, target in LINKS.items()},
                **{f"{folder}/": b"" for folder in FOLDERS},
            }
        assert await download(edge, made.id) == (header, content)
        if unzip := shutil.which("unzip"):
            (tmp_path / "made.zip").write_bytes(content)
            check_unpacked(unzip, tmp_path)

    run(scenario)


def check_unpacked(unzip: str, folder: Path) -> None:
    """Another program's eyes, which know permissions and links."""
    names = [path for path in FILES if path.isascii() and "\\" not in path]
    subprocess.run(
        [unzip, "-q", "made.zip", *names, *LINKS, *(f"{path}/" for path in FOLDERS), "-d", "out"], cwd=folder, check=True
    )
    for path in names:
        found = folder / "out" / path
        assert (found.read_bytes(), found.stat().st_mode & 0o777) == FILES[path]
    assert {path: str((folder / "out" / path).readlink()) for path in LINKS} == LINKS
    assert all((folder / "out" / path).is_dir() for path in FOLDERS)


def test_a_download_goes_on_at_any_byte(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        made = await stored(edge, {"a": (b"1" * 50, 0o644), "b": (b"", 0o644), "c": (b"2" * 50, 0o644)}, {"link": "a"}, ("empty",))
        header, content = await download(edge, made.id)
        for offset in range(len(content) + 1):
            assert await download(edge, made.id, offset) == (header, content[offset:])
        call = edge.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(artifact_id=made.id, offset=len(content) + 1))
        with pytest.raises(grpc.aio.AioRpcError, match="has only"):
            await call.read()

    run(scenario)


def test_an_empty_workspace(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        made = await stored(edge, {}, {}, ())
        _, content = await download(edge, made.id)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.namelist() == []

    run(scenario)


def test_more_entries_than_the_old_format_can_count(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        links = {f"{number:06}": "target" for number in range(70_000)}
        made = await stored(edge, {}, links, ())
        header, content = await download(edge, made.id)
        assert header.content_size == len(content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.namelist() == list(links)
            assert archive.read("069999") == b"target"

    run(scenario)


def test_many_small_files(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        files = {f"{number:04}": (b"%d" % (number % 7), 0o644) for number in range(150)}
        made = await stored(edge, files, {}, ())
        _, content = await download(edge, made.id)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == {path: found for path, (found, _) in files.items()}

    run(scenario)


def test_a_workspace_whose_file_is_gone(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        made = await stored(edge, {"a": (b"x", 0o644), "b": (b"y", 0o644)}, {}, ())
        blobs = edge.domain.blobs
        await blobs.discard(f"sha256:{hashlib.sha256(b'y').hexdigest()}")
        assert [await blobs.purge(one) async for one in blobs.trash()] == [True]
        found = await refusal(edge.artifacts.DownloadArtifact(pb.DownloadArtifactRequest(artifact_id=made.id)))
        assert (found.code, found.reason) == ("DATA_LOSS", "CONTENT_CORRUPTED")

    run(scenario)


@pytest.mark.parametrize("content_type", [WORKSPACE, f" {WORKSPACE.upper()}; charset=utf-8"])
def test_nobody_can_claim_that_something_is_a_workspace(run: Any, refusal: Any, content_type: str) -> None:
    async def scenario(edge: Any) -> None:
        header = pb.UploadHeader(content_type=content_type)
        parts = [pb.UploadArtifactRequest(header=header), pb.UploadArtifactRequest(chunk=Workspace().to_json())]
        found = await refusal(edge.artifacts.UploadArtifact(iter(parts)))
        assert (found.reason, set(found.fields)) == ("INVALID_FIELD", {"content_type"})
        assert "application/zip" in found.message

    run(scenario)


@pytest.mark.parametrize(
    ("content_type", "name"), [("application/x-pickle", "model.pickle"), ("application/json", "artifact_{id}.json")]
)
def test_other_content_can_be_the_only_file_of_a_zip_file(run: Any, content_type: str, name: str) -> None:
    async def scenario(edge: Any) -> None:
        content = bytes(range(256)) * 5000
        blob = await edge.domain.blobs.put(content)
        made = await edge.domain.tree.store(NewArtifact(), blob, content_type)
        request = pb.DownloadArtifactRequest(artifact_id=made.id, zipped=True)
        header, *parts = [part async for part in edge.artifacts.DownloadArtifact(request)]
        zipped = b"".join(part.chunk for part in parts)
        assert (header.header.content_type, header.header.content_size) == ("application/zip", len(zipped))
        assert (header.header.filename, header.header.digest) == (
            f"artifact_{made.id}.zip",
            f"sha256:{hashlib.sha256(zipped).hexdigest()}",
        )
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            assert archive.testzip() is None
            assert {one: archive.read(one) for one in archive.namelist()} == {name.format(id=made.id): content}
        request.offset = len(zipped) - 7
        _, rest = [part async for part in edge.artifacts.DownloadArtifact(request)]
        assert rest.chunk == zipped[-7:]
        assert (await download(edge, made.id))[1] == content

    run(scenario)
