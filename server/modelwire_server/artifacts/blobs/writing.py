"""Content on its way into a store: a file aside, hashed while it is written."""

import asyncio
import errno
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO

from ...errors import ContentTooLarge, StorageFull
from ..model import Blob

# Writes smaller than this are collected, since handing each to a thread would cost more than writing it.
BUFFER = 1 << 20


class ScratchWriter:
    """Writes a file in `folder` and gives it to `adopt` on commit."""

    def __init__(self, folder: Path, max_bytes: int, adopt: Callable[[Path, Blob], Awaitable[None]]) -> None:
        self._adopt = adopt
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self._pending: list[bytes] = []
        self._pending_size = 0
        self.size = 0
        with full_disk_is_storage_full():
            handle, name = tempfile.mkstemp(dir=folder)
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
        blob = self.blob
        await self._adopt(self.path, blob)
        return blob

    @property
    def blob(self) -> Blob:
        """What was flushed so far."""
        return Blob(f"sha256:{self._hash.hexdigest()}", self.size)

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


@asynccontextmanager
async def writing(folder: Path, max_bytes: int, adopt: Callable[[Path, Blob], Awaitable[None]]) -> AsyncIterator[ScratchWriter]:
    """A writer whose file is gone in the end, unless it was committed."""
    # Not in a thread: a caller that is canceled meanwhile would leave the file behind.
    writer = ScratchWriter(folder, max_bytes, adopt)
    try:
        yield writer
    finally:
        await asyncio.to_thread(writer.discard)


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
