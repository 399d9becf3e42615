"""A workspace as a zip file. It is never stored: it is made while it is sent, and equal workspaces of one time make equal bytes."""

import asyncio
import hashlib
import stat
import zlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ContentCorrupted, StorageUnavailable
from .blobs.interface import BlobStore
from .model import Blob
from .workspace import Workspace, WorkspaceFile
from .zipping import Entry, after, before

ZIP = "application/zip"
_CHUNK = 1 << 20
# Files are asked of the store in groups of up to so many, or so many bytes.
_FILES_AT_ONCE = 64
_BYTES_AT_ONCE = 64 << 20

# What a zip file is made of, in turn: bytes, and the contents of files.
Piece = bytes | WorkspaceFile


class Archive:
    """The zip file of a workspace, at a time that all its files get. Nothing in it is compressed, so its size and where everything
    lies are known at once, and a download can go on at any byte."""

    def __init__(self, blobs: BlobStore, workspace: Workspace, time: datetime) -> None:
        self._blobs = blobs
        self._pieces = tuple(_pieces(workspace, time))
        self.size = sum(map(_size, self._pieces))

    async def blob(self) -> Blob:
        """Size and digest. Takes as long as to read all the files."""
        sha256 = hashlib.sha256()
        async for chunk in self.chunks():
            sha256.update(chunk)
        return Blob(f"sha256:{sha256.hexdigest()}", self.size)

    async def chunks(self, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes from `offset`, in chunks of at most 1 MiB. Raises ContentCorrupted if a file is not what it was."""
        for skipped, pieces in _groups(_from(self._pieces, offset)):
            files = {piece.digest for piece in pieces if isinstance(piece, WorkspaceFile)}
            paths = dict(zip(files, await asyncio.gather(*map(self._blobs.local_path, files)), strict=True))
            chunks = _read(pieces, paths, skipped)
            while chunk := await asyncio.to_thread(next, chunks, b""):
                yield chunk


async def archive_of(blobs: BlobStore, listed: Blob, time: datetime) -> Archive:
    """The zip file of the workspace whose list of files this is. Raises ContentCorrupted."""
    document = b"".join([chunk async for chunk in blobs.read(listed.digest)])
    return Archive(blobs, Workspace.from_json(document), time)


def size_around(name: str, size: int) -> int:
    """The size of a zip file whose only file has this name and size."""
    workspace = Workspace(files=(WorkspaceFile(name, "", size),))
    return sum(map(_size, _pieces(workspace, datetime(1980, 1, 1, tzinfo=UTC))))


async def archive_around(blobs: BlobStore, content: Blob, name: str, time: datetime) -> Archive:
    """A zip file with this content as its only file. Raises ContentCorrupted."""
    crc32 = 0
    async for chunk in blobs.read(content.digest):
        crc32 = zlib.crc32(chunk, crc32)
    return Archive(blobs, Workspace(files=(WorkspaceFile(name, content.digest, content.size, crc32=crc32),)), time)


def _pieces(workspace: Workspace, time: datetime) -> Iterator[Piece]:
    known: list[tuple[Entry, int]] = []
    position = 0
    for entry, content in _entries(workspace):
        known.append((entry, position))
        head = before(entry, time)
        position += len(head) + entry.size
        yield head
        if entry.size:
            yield content
    yield after(known, time, position)


def _entries(workspace: Workspace) -> Iterator[tuple[Entry, Piece]]:
    for folder in workspace.folders:
        yield Entry(f"{folder}/", stat.S_IFDIR | 0o755), b""
    for file in workspace.files:
        yield Entry(file.path, stat.S_IFREG | file.mode, file.size, file.crc32), file
    # Last, so that whoever unpacks one entry after the other writes through none.
    for link in workspace.links:
        target = link.target.encode()
        yield Entry(link.path, stat.S_IFLNK | 0o777, len(target), zlib.crc32(target)), target


def _from(pieces: Iterable[Piece], offset: int) -> Iterator[tuple[int, Piece]]:
    """The pieces that are not before `offset`, each with how much of it is."""
    for piece in pieces:
        if offset < _size(piece):
            yield offset, piece
        offset = max(offset - _size(piece), 0)


def _groups(pieces: Iterable[tuple[int, Piece]]) -> Iterator[tuple[int, list[Piece]]]:
    """Pieces whose files can be asked for at once, and how much of the first is skipped."""
    group: list[Piece] = []
    skipped = size = files = 0
    for offset, piece in pieces:
        skipped = skipped if group else offset
        group.append(piece)
        size += _size(piece)
        files += isinstance(piece, WorkspaceFile)
        if files >= _FILES_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield skipped, group
            group, size, files = [], 0, 0
    yield skipped, group


def _read(pieces: Iterable[Piece], paths: Mapping[str, Path], skipped: int) -> Iterator[bytes]:
    """The bytes of the pieces in chunks of 1 MiB, but for the last."""
    waiting = bytearray()
    for piece in pieces:
        parts = [piece[skipped:]] if isinstance(piece, bytes) else _read_file(piece, paths[piece.digest], skipped)
        skipped = 0
        for part in parts:
            waiting += part
            while len(waiting) >= _CHUNK:
                yield bytes(waiting[:_CHUNK])
                del waiting[:_CHUNK]
    if waiting:
        yield bytes(waiting)


def _read_file(file: WorkspaceFile, path: Path, offset: int) -> Iterator[bytes]:
    size, crc32 = offset, 0
    try:
        opened = path.open("rb")
    except FileNotFoundError:
        # It was there a moment ago; whoever asks again will see.
        raise StorageUnavailable(f"the stored file {file.path} of the workspace is gone") from None
    with opened:
        opened.seek(offset)
        while part := opened.read(_CHUNK):
            size += len(part)
            crc32 = zlib.crc32(part, crc32)
            yield part
    if size != file.size or (offset == 0 and crc32 != file.crc32):
        raise ContentCorrupted(f"the stored file {file.path} of the workspace was changed", digest=file.digest)


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.size
