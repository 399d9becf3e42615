"""Files on their way in."""

from pathlib import Path

from ..artifacts.blobs.interface import BlobWriter
from ..errors import ContentTooLarge


class Bounded:
    """A writer that takes so many bytes."""

    def __init__(self, writer: BlobWriter, max_bytes: int) -> None:
        self._writer = writer
        self._max_bytes = max_bytes

    @property
    def path(self) -> Path:
        return self._writer.path

    @property
    def size(self) -> int:
        return self._writer.size

    async def write(self, data: bytes) -> None:
        """Raises ContentTooLarge, StorageFull."""
        check_size(self.size + len(data), self._max_bytes)
        await self._writer.write(data)

    async def flush(self) -> None:
        await self._writer.flush()


def check_size(size: int, limit: int) -> None:
    """Raises ContentTooLarge."""
    if size > limit:
        raise ContentTooLarge(f"the file has more than {limit:,} bytes, the most that is allowed for models", limit=limit)
