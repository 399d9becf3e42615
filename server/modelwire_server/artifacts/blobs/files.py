"""Content as files, named by their SHA-256."""

import asyncio
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO

from ...errors import ContentCorrupted, ContentTooLarge, StorageFull
from ..model import Blob

# Writes smaller than this are collected, since handing each to a thread would cost more than writing it.
BUFFER = 1 << 20


class FileBlobStore:
    """Stores content below `root`/sha256; `root`/scratch holds what is not finished. A file appears under its name complete or not at
    all: it is written aside, synced, then renamed."""

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        self._root = root / "sha256"
        self._scratch = root / "scratch"
        self._max_bytes = max_bytes

    @property
    def scratch(self) -> Path:
        return self._scratch

    async def open(self) -> None:
        """Makes the folders and removes what an earlier process left unfinished."""
        await asyncio.to_thread(self._open)

    def _open(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        self._root.mkdir(parents=True, exist_ok=True)

    @asynccontextmanager
    async def writer(self) -> AsyncIterator["FileBlobWriter"]:
        # Not in a thread: a caller that is canceled meanwhile would leave the file behind.
        writer = FileBlobWriter(self, self._max_bytes)
        try:
            yield writer
        finally:
            await asyncio.to_thread(writer.discard)

    async def put(self, data: bytes) -> Blob:
        async with self.writer() as writer:
            await writer.write(data)
            return await writer.commit()

    async def adopt(self, path: Path, blob: Blob) -> None:
        if blob.size > self._max_bytes:
            raise too_large(self._max_bytes)
        await asyncio.to_thread(self._adopt, path, blob)

    async def local_path(self, digest: str) -> Path:
        path = self._path(digest)
        if not await asyncio.to_thread(path.exists):
            raise ContentCorrupted(f"the content {digest} is missing from the store", digest=digest)
        return path

    async def read(self, digest: str, *, offset: int = 0, chunk_size: int = 1 << 20) -> AsyncIterator[bytes]:
        path = await self.local_path(digest)
        with await asyncio.to_thread(path.open, "rb") as file:
            file.seek(offset)
            while chunk := await asyncio.to_thread(file.read, chunk_size):
                yield chunk

    async def verify(self, digest: str) -> bool:
        return await asyncio.to_thread(self._verify, digest)

    async def digests(self) -> AsyncIterator[str]:
        for path in await asyncio.to_thread(lambda: list(self._root.glob("??/*"))):
            yield f"sha256:{path.parent.name}{path.name}"

    async def delete(self, digest: str) -> None:
        await asyncio.to_thread(self._path(digest).unlink, missing_ok=True)

    def _path(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise ContentCorrupted(f"{digest!r} is no digest", digest=digest)
        return self._root / name[:2] / name[2:]

    def _adopt(self, path: Path, blob: Blob) -> None:
        target = self._path(blob.digest)
        with full_disk_is_storage_full():
            if target.exists():
                path.unlink()
                return
            target.parent.mkdir(exist_ok=True)
            path.chmod(0o444)
            path.replace(target)
            sync_folder(target.parent)

    def _verify(self, digest: str) -> bool:
        path = self._path(digest)
        if not path.exists():
            return False
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest


class FileBlobWriter:
    """Content on its way into a file."""

    def __init__(self, store: FileBlobStore, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._pending: list[bytes] = []
        self._pending_size = 0
        self.size = 0
        with full_disk_is_storage_full():
            handle, name = tempfile.mkstemp(dir=store.scratch)
        self._file: BinaryIO = os.fdopen(handle, "wb", buffering=0)
        self.path = Path(name)

    async def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._max_bytes:
            raise too_large(self._max_bytes)
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size >= BUFFER:
            await self.flush()

    async def flush(self) -> None:
        """Writes what was collected, so that it can be read at `path`."""
        pending, self._pending, self._pending_size = self._pending, [], 0
        if pending:
            await asyncio.to_thread(self._write, pending)

    async def commit(self) -> Blob:
        await self.flush()
        await asyncio.to_thread(self._sync)
        blob = Blob(f"sha256:{self._hash.hexdigest()}", self.size)
        await self._store.adopt(self.path, blob)
        return blob

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write(self, chunks: list[bytes]) -> None:
        with full_disk_is_storage_full():
            for chunk in chunks:
                self._hash.update(chunk)
                rest = memoryview(chunk)
                while rest:
                    rest = rest[self._file.write(rest) :]

    def _sync(self) -> None:
        with full_disk_is_storage_full():
            os.fsync(self._file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes a rename durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def too_large(limit: int) -> ContentTooLarge:
    return ContentTooLarge(f"the content is larger than {limit} bytes, the most that is stored", limit=limit)


@contextmanager
def full_disk_is_storage_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("the disk that holds the content is full") from error
        raise
