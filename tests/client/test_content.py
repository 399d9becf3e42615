"""Uploads and downloads over connections that break."""
# ruff: noqa: N802 - servicers have the names of the contract

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire import AsyncClient, Client, DataLoss, Unavailable
from modelwire.content import NewFile
from modelwire.v1 import artifact_pb2, artifact_service_pb2
from modelwire.v1.artifact_service_pb2_grpc import ArtifactServiceServicer

CONTENT = bytes(range(256)) * 20_000


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Shelf(ArtifactServiceServicer):
    """Holds one content; its connections break after so many bytes as it is told. So many seconds after an upload it looks whether
    that was canceled, which gRPC's server takes for its end for a moment."""

    def __init__(
        self,
        content: bytes = CONTENT,
        *,
        breaks: tuple[int, ...] = (),
        announced: str = "",
        filename: str = "a.bin",
        doubts_for: float = 0.0,
    ) -> None:
        self.content = content
        self._breaks = iter(breaks)
        self._announced = announced
        self._filename = filename
        self._doubts_for = doubts_for
        self.offsets: list[int] = []
        self.headers: list[artifact_service_pb2.UploadHeader] = []
        self.largest = 0

    def DownloadArtifact(self, request: Any, context: Any) -> Iterator[artifact_service_pb2.DownloadArtifactResponse]:
        self.offsets.append(request.offset)
        yield artifact_service_pb2.DownloadArtifactResponse(
            header=artifact_service_pb2.DownloadHeader(
                content_size=len(self.content), digest=self._announced or digest(self.content), filename=self._filename
            )
        )
        end = request.offset + next(self._breaks, len(self.content))
        for start in range(request.offset, min(end, len(self.content)), 100_000):
            chunk = self.content[start : min(start + 100_000, end)]
            yield artifact_service_pb2.DownloadArtifactResponse(chunk=chunk)
        if end < len(self.content):
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    def UploadArtifact(self, request_iterator: Any, context: Any) -> artifact_service_pb2.UploadArtifactResponse:
        self.headers.append(next(request_iterator).header)
        limit = next(self._breaks, None)
        over = threading.Event()
        context.add_callback(over.set)
        received = b""
        for request in request_iterator:
            received += request.chunk
            self.largest = max(self.largest, len(request.chunk))
            if limit is not None and len(received) >= limit:
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if self._doubts_for and over.wait(self._doubts_for):
            return artifact_service_pb2.UploadArtifactResponse()
        self.content = received
        data = artifact_pb2.ArtifactData(type="generic", digest=self._announced or digest(received), content_size=len(received))
        return artifact_service_pb2.UploadArtifactResponse(artifact=artifact_pb2.Artifact(id="A", data=data))


def download(target: str, path: Path | None = None) -> Any:
    with Client(target) as client:
        return client.artifacts.download("A", path)


def download_async(target: str, path: Path | None = None) -> Any:
    async def fetch() -> Any:
        async with AsyncClient(target) as client:
            return await client.artifacts.download("A", path)

    return asyncio.run(fetch())


def upload(target: str, content: Any) -> Any:
    with Client(target) as client:
        return client.artifacts.upload(content)


def upload_async(target: str, content: Any) -> Any:
    async def store() -> Any:
        async with AsyncClient(target) as client:
            return await client.artifacts.upload(content)

    return asyncio.run(store())


downloads = pytest.mark.parametrize("download", [download, download_async], ids=["blocking", "asyncio"])
uploads = pytest.mark.parametrize("upload", [upload, upload_async], ids=["blocking", "asyncio"])
Transfer = Callable[..., Any]


@downloads
def test_a_broken_download_is_resumed(serve: Any, download: Transfer) -> None:
    shelf = Shelf(breaks=(1_000_000, 0, 250_000))
    assert download(serve(shelf)) == CONTENT
    assert shelf.offsets == [0, 1_000_000, 1_000_000, 1_250_000]


@downloads
def test_a_download_goes_to_a_file(serve: Any, tmp_path: Path, download: Transfer) -> None:
    path = download(serve(Shelf(breaks=(1_000_000,))), tmp_path / "model.bin")
    assert path == tmp_path / "model.bin"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["model.bin"]


@pytest.mark.parametrize("filename", ["name.bin", "../../name.bin", "/etc/name.bin"])
def test_a_download_to_a_folder_stays_in_it(serve: Any, tmp_path: Path, filename: str) -> None:
    path = download(serve(Shelf(filename=filename)), tmp_path)
    assert path == tmp_path / "name.bin"
    assert path.read_bytes() == CONTENT


@downloads
def test_damaged_content_is_refused_and_no_file_left(serve: Any, tmp_path: Path, download: Transfer) -> None:
    target = serve(Shelf(announced=digest(b"something else")))
    (tmp_path / "model.bin").write_bytes(b"the old one")
    with pytest.raises(DataLoss, match="the content of A arrived damaged"):
        download(target, tmp_path / "model.bin")
    assert [file.name for file in tmp_path.iterdir()] == ["model.bin"]
    assert (tmp_path / "model.bin").read_bytes() == b"the old one"


def test_downloads_are_given_up_at_last(serve: Any) -> None:
    with Client(serve(Shelf(breaks=(0,) * 100)), reconnect_for=0.5) as client, pytest.raises(Unavailable, match="Socket closed"):
        client.artifacts.download("A")


def test_empty_content_is_content(serve: Any) -> None:
    assert download(serve(Shelf(b""))) == b""


@given(mode=st.sampled_from([0o600, 0o644, 0o666]))
def test_a_new_file_has_the_rights_that_the_caller_gives_files(tmp_path_factory: pytest.TempPathFactory, mode: int) -> None:
    import os

    folder = tmp_path_factory.mktemp("rights")
    before = os.umask(0o666 & ~mode)
    try:
        with NewFile(folder / "new") as file:
            file.write(b"x")
            path = file.commit("")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


@uploads
@pytest.mark.parametrize("kind", ["bytes", "path", "file", "bytearray"])
def test_content_of_any_kind_is_uploaded(serve: Any, tmp_path: Path, upload: Transfer, kind: str) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    shelf = Shelf()
    with (tmp_path / "file").open("rb") as file:
        kinds = {"bytes": CONTENT, "bytearray": bytearray(CONTENT), "path": tmp_path / "file", "file": file}
        artifact = upload(serve(shelf), kinds[kind])
        assert not file.closed, "what the caller opened, the caller closes"
    assert (artifact.id, artifact.content_size) == ("A", len(CONTENT))
    assert shelf.content == CONTENT
    assert shelf.headers[0].digest == digest(CONTENT)
    assert shelf.largest <= 2 * 1024 * 1024


def test_a_file_is_uploaded_from_where_it_stands(serve: Any) -> None:
    file = BytesIO(CONTENT)
    file.seek(1000)
    shelf = Shelf()
    upload(serve(shelf), file)
    assert shelf.content == CONTENT[1000:]


class Pipe(BytesIO):
    """A file that cannot be wound back."""

    def seekable(self) -> bool:
        return False


@uploads
def test_a_broken_upload_is_repeated_with_the_same_id(serve: Any, upload: Transfer) -> None:
    shelf = Shelf(breaks=(3_000_000, 1_000_000))
    upload(serve(shelf), CONTENT)
    assert shelf.content == CONTENT
    assert len({header.request_id for header in shelf.headers}) == 1
    assert len(shelf.headers) == 3


@uploads
def test_what_cannot_be_read_twice_is_sent_once(serve: Any, upload: Transfer) -> None:
    shelf = Shelf(breaks=(3_000_000,))
    target = serve(shelf)
    with pytest.raises(Unavailable):
        upload(target, Pipe(CONTENT))
    assert len(shelf.headers) == 1
    assert upload(target, Pipe(CONTENT)).id == "A"
    assert shelf.headers[1].digest == ""
    assert shelf.content == CONTENT


@uploads
def test_an_upload_that_arrives_damaged_is_told(serve: Any, upload: Transfer) -> None:
    with pytest.raises(DataLoss, match="A arrived damaged"):
        upload(serve(Shelf(announced=digest(b"something else"))), CONTENT)


class Failing(BytesIO):
    """A disk that breaks in the middle."""

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 3_000_000:
            raise OSError("Input/output error")
        return super().read(size)


@uploads
def test_content_that_cannot_be_read_stores_nothing(serve: Any, upload: Transfer) -> None:
    shelf = Shelf(b"old", doubts_for=1.0)
    with pytest.raises(OSError, match="Input/output error"):
        upload(serve(shelf), Failing(CONTENT))
    assert shelf.content == b"old"


def test_frames_are_kept_as_datasets(serve: Any) -> None:
    table = pa.table({"x": list(range(300_000)), "s": ["a"] * 300_000})
    shelf = Shelf(breaks=(1_500_000,))
    with Client(serve(shelf)) as client:
        client.datasets.upload(table)
        assert shelf.headers[-1].content_type == "application/vnd.apache.arrow.stream"
        assert client.artifacts.frame("A").equals(table)
        assert client.artifacts.frame("A", "pandas").equals(table.to_pandas())


def test_content_that_is_no_frame_is_told(serve: Any) -> None:
    with Client(serve(Shelf(b"not arrow"))) as client, pytest.raises(DataLoss, match="cannot be read"):
        client.artifacts.frame("A")
