"""Where content lives. Content is addressed by its digest, so equal content is stored once and never changes.

Several servers may share one store. Nothing is deleted at once: what is not wanted is discarded, which puts it into the trash, and
whoever looks for it there gets it back; only what stayed in the trash for long is purged. So an upload of content that is being
discarded at the same moment loses nothing.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ..model import Blob


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Content as it lies in the store. `size` is in bytes; `modified_at` is when it was stored, discarded or restored."""

    digest: str
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """How much is stored, without the trash: so many blobs, so many bytes."""

    count: int
    bytes: int


class BlobWriter(Protocol):
    """Content on its way in. Leaving the context without commit() discards it."""

    @property
    def path(self) -> Path:
        """The unfinished content, for checks before commit(); after flush() all that was written can be read there."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    async def write(self, data: bytes) -> None:
        """Appends. Raises StorageFull when there is no space, ContentTooLarge above the store's limit."""

    async def flush(self) -> None:
        """Hands what was written to the file at `path`."""

    async def commit(self) -> Blob:
        """Makes the content durable and visible under its digest."""


class BlobStore(Protocol):
    """Stores content. Methods raise StorageFull when there is no space, ContentCorrupted when content is gone or damaged,
    StorageUnavailable when the store does not answer."""

    async def open(self) -> None:
        """Makes the store ready, and removes what processes that are gone left unfinished. Raises StartError."""

    async def close(self) -> None:
        """Removes what this process left unfinished."""

    @property
    def scratch(self) -> Path:
        """A local folder of this process, for files that will be adopted."""

    def writer(self) -> AbstractAsyncContextManager[BlobWriter]: ...

    async def put(self, data: bytes) -> Blob:
        """Stores small content in one call."""

    async def adopt(self, path: Path, blob: Blob) -> None:
        """Takes over a finished file below `scratch` whose digest its writer computed; the file is gone afterwards."""

    async def local_path(self, digest: str) -> Path:
        """A local file with the content, for reading only. To be opened soon: only open files stay for as long as they are needed."""

    def read(self, digest: str, *, offset: int = 0, chunk_size: int = 1 << 20) -> AsyncGenerator[bytes, None]:
        """Streams the content from `offset`. Whoever may stop in between closes it: it holds an open file."""

    async def verify(self, digest: str) -> bool:
        """Whether the content is there and still has its digest."""

    async def usage(self) -> Usage:
        """How much is stored."""

    def entries(self) -> AsyncIterator[StoredBlob]:
        """All stored content, in no order."""

    async def discard(self, digest: str) -> None:
        """Puts content into the trash; unknown digests are fine."""

    async def restore(self, digest: str) -> bool:
        """Takes content out of the trash; whether it was only there."""

    def trash(self) -> AsyncIterator[StoredBlob]:
        """What was discarded, in no order. Of what was restored, and of what was discarded more than once, more may be told than is
        needed: some stores cannot move content, and leave copies behind until they are purged."""

    async def purge(self, discarded: StoredBlob) -> bool:
        """Deletes for good what trash() told of; whether that was done. What was restored or discarded anew since then stays."""
