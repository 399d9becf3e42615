"""A workspace as a zip file. It is never stored: it is made while it is sent, and equal workspaces of one time make equal bytes."""

import hashlib
import stat
import zipfile
from collections.abc import AsyncIterator
from datetime import datetime

from ..errors import ContentCorrupted
from .blobs.interface import BlobStore
from .model import Blob
from .workspace import Workspace, WorkspaceFile

ZIP = "application/zip"
_CHUNK = 1 << 20


async def read_workspace(blobs: BlobStore, listed: Blob) -> Workspace:
    """Raises ContentCorrupted."""
    return Workspace.from_json(b"".join([chunk async for chunk in blobs.read(listed.digest)]))


async def zip_of(blobs: BlobStore, workspace: Workspace, time: datetime) -> Blob:
    """What the zip file will be: it is made once for this, and thrown away."""
    sha256, size = hashlib.sha256(), 0
    async for chunk in zip_chunks(blobs, workspace, time):
        sha256.update(chunk)
        size += len(chunk)
    return Blob(f"sha256:{sha256.hexdigest()}", size)


async def zip_chunks(blobs: BlobStore, workspace: Workspace, time: datetime, offset: int = 0) -> AsyncIterator[bytes]:
    """The zip file from a byte on, in chunks of at most 1 MiB. Files are not compressed, so that a download can go on where it stopped.
    Raises ContentCorrupted if a file is not what it was."""
    async for data in _pieces(blobs, workspace, time):
        skipped = min(offset, len(data))
        offset -= skipped
        for start in range(skipped, len(data), _CHUNK):
            yield data[start : start + _CHUNK]


async def _pieces(blobs: BlobStore, workspace: Workspace, time: datetime) -> AsyncIterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
        for folder in workspace.folders:
            archive.writestr(_entry(f"{folder}/", stat.S_IFDIR | 0o755, time), b"")
        for link in workspace.links:
            archive.writestr(_entry(link.path, stat.S_IFLNK | 0o777, time), link.target.encode())
        for file in workspace.files:
            async for _ in _add(archive, blobs, file, time):
                if len(sink.data) >= _CHUNK:
                    yield sink.take()
    yield sink.take()


async def _add(archive: zipfile.ZipFile, blobs: BlobStore, file: WorkspaceFile, time: datetime) -> AsyncIterator[None]:
    """Adds a file, and lets others work after each chunk."""
    entry = _entry(file.path, stat.S_IFREG | file.mode, time)
    entry.file_size = file.size
    with archive.open(entry, "w") as target:
        async for chunk in blobs.read(file.digest, chunk_size=_CHUNK):
            target.write(chunk)
            yield
    if (entry.CRC, entry.file_size) != (file.crc32, file.size):
        raise ContentCorrupted(f"the stored file {file.path} of the workspace was changed", digest=file.digest)
    yield


def _entry(path: str, mode: int, time: datetime) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(path, (time.year, time.month, time.day, time.hour, time.minute, time.second))
    entry.external_attr = mode << 16
    return entry


class _Sink:
    """Takes what is written until it is taken away. Has no positions, so that nothing is written twice."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None:
        """There is nothing behind it."""

    def take(self) -> bytes:
        taken = bytes(self.data)
        self.data.clear()
        return taken
