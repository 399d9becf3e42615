"""Where content lives. Content is addressed by its digest, so equal content is stored once and never changes."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from ..model import Blob


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
    """Stores content. Methods raise StorageFull when there is no space, ContentCorrupted when content is gone or damaged."""

    @property
    def scratch(self) -> Path:
        """A folder on the store's own file system, for files that will be adopted."""

    def writer(self) -> AbstractAsyncContextManager[BlobWriter]: ...

    async def put(self, data: bytes) -> Blob:
        """Stores small content in one call."""

    async def adopt(self, path: Path, blob: Blob) -> None:
        """Takes over a finished file whose digest its writer computed; the file is gone afterwards."""

    async def local_path(self, digest: str) -> Path:
        """A local file with the content, for reading only."""

    def read(self, digest: str, *, offset: int = 0, chunk_size: int = 1 << 20) -> AsyncIterator[bytes]:
        """Streams the content from `offset`."""

    async def verify(self, digest: str) -> bool:
        """Whether the content still has its digest."""

    def digests(self) -> AsyncIterator[str]:
        """All stored digests, in no order."""

    async def delete(self, digest: str) -> None:
        """Forgets the content; unknown digests are fine."""
