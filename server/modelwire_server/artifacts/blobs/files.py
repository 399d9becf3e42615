"""Content as files, named by their SHA-256."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

from ...clock import new_id
from ...errors import ContentCorrupted, StartError
from ..model import Blob
from .disk import chunks_of, file_digest, make_folder, opened, seal, sync_folder, time_of
from .interface import StoredBlob, Usage
from .names import CONTENT, TRASH, digest_of, missing, name_of
from .scratch import Scratch
from .writing import ScratchWriter, full_disk_is_storage_full, too_large, writing

T = TypeVar("T")

# Content that is discarded and restored at the same moment by many is looked for so often, in both places.
LOOKS = 5


class FileBlobStore:
    """Stores content below `root`/sha256, where a file appears complete or not at all: it is written aside, synced, then renamed.

    Several processes may share the folder. `root`/trash holds what was discarded, `root`/scratch what is not finished. Every move
    between them is one rename, so content is always in one place or the other.
    """

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        self._content = root / CONTENT
        self._trash = root / TRASH
        self._scratch = Scratch(root / "scratch")
        self._max_bytes = max_bytes

    @property
    def scratch(self) -> Path:
        return self._scratch.path

    async def open(self) -> None:
        """Makes the folders and removes what processes that are gone left unfinished. Raises StartError."""
        try:
            await asyncio.to_thread(self._scratch.open)
        except OSError as error:
            raise StartError(f"content cannot be stored in {self._content.parent}: {error.strerror}") from error

    async def close(self) -> None:
        await asyncio.to_thread(self._scratch.close)

    def writer(self) -> AbstractAsyncContextManager[ScratchWriter]:
        return writing(self.scratch, self._max_bytes, self.adopt)

    async def put(self, data: bytes) -> Blob:
        async with self.writer() as writer:
            await writer.write(data)
            return await writer.commit()

    async def adopt(self, path: Path, blob: Blob) -> None:
        if blob.size > self._max_bytes:
            raise too_large(self._max_bytes)
        await asyncio.to_thread(self._adopt, path, blob)

    async def local_path(self, digest: str) -> Path:
        def find(path: Path) -> Path:
            path.stat()
            return path

        return await asyncio.to_thread(self._found, digest, find)

    async def read(self, digest: str, *, offset: int = 0, chunk_size: int = 1 << 20) -> AsyncGenerator[bytes, None]:
        with await opened(lambda: self._found(digest, lambda path: path.open("rb"))) as file:
            async for chunk in chunks_of(file, offset, chunk_size):
                yield chunk

    async def verify(self, digest: str) -> bool:
        try:
            return await asyncio.to_thread(self._found, digest, lambda path: file_digest(path) == digest)
        except ContentCorrupted:
            return False

    async def usage(self) -> Usage:
        sizes = [blob.size async for blob in self.entries()]
        return Usage(len(sizes), sum(sizes))

    def entries(self) -> AsyncIterator[StoredBlob]:
        return stored_below(self._content)

    async def discard(self, digest: str) -> None:
        await asyncio.to_thread(self._move, self._path(self._content, digest), self._path(self._trash, digest))

    async def restore(self, digest: str) -> bool:
        return await asyncio.to_thread(self._restore, digest)

    def trash(self) -> AsyncIterator[StoredBlob]:
        return stored_below(self._trash)

    async def purge(self, discarded: StoredBlob) -> bool:
        return await asyncio.to_thread(self._purge, discarded)

    def _path(self, folder: Path, digest: str) -> Path:
        return folder / name_of(digest)

    def _adopt(self, path: Path, blob: Blob) -> None:
        with full_disk_is_storage_full():
            if self._renew(blob.digest):
                path.unlink()
            else:
                self._store(path, self._path(self._content, blob.digest))

    def _renew(self, digest: str) -> bool:
        """Whether the content is stored, which counts from now on: a collection that is under way may have found it old."""
        path = self._path(self._content, digest)
        for _ in range(LOOKS):
            with contextlib.suppress(FileNotFoundError):
                os.utime(path)
                return True
            if not self._restore(digest) and not path.exists():
                return False
        return False

    def _store(self, path: Path, target: Path) -> None:
        seal(path)
        os.utime(path)
        make_folder(target.parent)
        path.replace(target)
        sync_folder(target.parent)

    def _found(self, digest: str, use: Callable[[Path], T]) -> T:
        """What `use` makes of the content's file. Raises ContentCorrupted if there is none, in the trash neither."""
        path = self._path(self._content, digest)
        for _ in range(LOOKS):
            with contextlib.suppress(FileNotFoundError):
                return use(path)
            self._restore(digest)
        raise missing(digest)

    def _restore(self, digest: str) -> bool:
        return self._move(self._path(self._trash, digest), self._path(self._content, digest))

    def _move(self, source: Path, target: Path) -> bool:
        """Moves content; its time becomes that of the move. Whether it was at its source."""
        with full_disk_is_storage_full():
            make_folder(target.parent)
            try:
                os.utime(source)
                source.rename(target)
            except FileNotFoundError:
                return False
            sync_folder(target.parent)
            return True

    def _purge(self, discarded: StoredBlob) -> bool:
        aside = self.scratch / f"purged-{new_id()}"
        try:
            self._path(self._trash, discarded.digest).rename(aside)
        except FileNotFoundError:
            return False
        if time_of(aside.stat()) != discarded.modified_at:
            aside.replace(self._path(self._content, discarded.digest))
            return False
        aside.unlink()
        return True


async def stored_below(folder: Path) -> AsyncIterator[StoredBlob]:
    """All content below a folder, read a subfolder at a time."""
    for subfolder in await asyncio.to_thread(lambda: sorted(folder.glob("??"))):
        for blob in await asyncio.to_thread(_stored_in, subfolder):
            yield blob


def _stored_in(folder: Path) -> list[StoredBlob]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            digest = digest_of(f"{folder.name}/{entry.name}")
            with contextlib.suppress(FileNotFoundError):
                if digest is not None:
                    state = entry.stat()
                    found.append(StoredBlob(digest, state.st_size, time_of(state)))
    return found
