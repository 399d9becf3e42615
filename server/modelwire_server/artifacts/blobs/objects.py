"""Content as objects in a bucket, named by their SHA-256."""

import asyncio
import hashlib
import math
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import structlog
from obstore.exceptions import AlreadyExistsError, NotSupportedError

from ...clock import new_id
from ...errors import ContentCorrupted
from ..model import Blob
from .buckets import Bucket, answers, check_access
from .cache import Cache
from .disk import chunks_of, opened, seal
from .interface import StoredBlob, Usage
from .names import CONTENT, TRASH, digest_of, missing, name_of
from .scratch import Scratch
from .writing import ScratchWriter, full_disk_is_storage_full, too_large, writing

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta

log = structlog.get_logger(__name__)

# Content up to this size is sent without a question whether it is there.
SMALL = 1 << 16
PART = 8 << 20
# More than the parts that an upload may have.
MOST_PARTS = 9_000
PARTS_AT_ONCE = 4
# So many uploads and downloads to the cache go on at once.
TRANSFERS = 16
LISTED_AT_ONCE = 1_000
# A bucket copies no larger objects by itself.
LARGEST_COPY = 5 << 30
# Content whose discarding took longer stays where it is. Much shorter than the period of grace of a collection.
DISCARD_SECONDS = 600.0
# Content that is discarded and restored at the same moment by many is looked for so often, in both places.
LOOKS = 5
READ = 1 << 20


class ObjectBlobStore:
    """Keeps content below sha256/ in a bucket, where an object appears complete or not at all, and copies of what is used in a
    local `folder`, up to `cache_bytes`.

    Several servers may share the bucket, which offers them neither a rename nor a lock. So who discards content first copies it
    to trash/<digest>/ under a name that is used once, and then deletes it; and nothing is ever deleted from the trash but by
    purge(), long after it came there. However the steps of many mix: whoever deletes content has put a copy of it into the trash
    a moment ago, and there it stays for whoever saw the content and relies on it.
    """

    def __init__(
        self, bucket: Bucket, place: str, folder: Path, *, max_bytes: int, cache_bytes: int, largest_copy: int = LARGEST_COPY
    ) -> None:
        self._bucket = bucket
        self._place = place
        self._cache = Cache(folder / CONTENT, cache_bytes)
        self._scratch = Scratch(folder / "scratch")
        self._max_bytes = max_bytes
        self._largest_copy = largest_copy
        self._transfers = asyncio.Semaphore(TRANSFERS)
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def scratch(self) -> Path:
        return self._scratch.path

    async def open(self) -> None:
        """Raises StartError, StorageUnavailable."""
        await check_access(self._bucket, self._place)
        await asyncio.to_thread(self._scratch.open)
        await asyncio.to_thread(self._cache.open)

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
        name = object_name(blob.digest)
        with full_disk_is_storage_full():
            await asyncio.to_thread(seal, path)
        async with self._transfers:
            await self._upload(path, name, blob.size)
        await asyncio.to_thread(self._cache.add, path, blob.digest)

    async def local_path(self, digest: str) -> Path:
        async with self._fetching.setdefault(digest, asyncio.Lock()):
            return await asyncio.to_thread(self._cache.find, digest) or await self._fetch(digest)

    async def read(self, digest: str, *, offset: int = 0, chunk_size: int = READ) -> AsyncGenerator[bytes, None]:
        with suppress(FileNotFoundError):
            if found := await asyncio.to_thread(self._cache.find, digest):
                path: Path = found
                with await opened(lambda: path.open("rb")) as file:
                    async for chunk in chunks_of(file, offset, chunk_size):
                        yield chunk
                return
        async with aclosing(self._download(digest, offset, chunk_size)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def verify(self, digest: str) -> bool:
        try:
            async for _ in self._download(digest):
                pass
        except ContentCorrupted:
            return False
        return True

    async def usage(self) -> Usage:
        sizes = [blob.size async for blob in self.entries()]
        return Usage(len(sizes), sum(sizes))

    async def entries(self) -> AsyncIterator[StoredBlob]:
        async for found in self._list(CONTENT):
            digest = digest_of(found["path"].removeprefix(f"{CONTENT}/"))
            if digest is not None:
                yield StoredBlob(digest, found["size"], found["last_modified"])

    async def discard(self, digest: str) -> None:
        name, began = object_name(digest), time.monotonic()
        self._cache.drop(digest)
        found = await self._head(name)
        if found is None or not await self._copy(found, f"{trash_folder(digest)}/{new_id()}"):
            return
        if time.monotonic() - began > DISCARD_SECONDS:
            log.warning("discarding took too long, the content stays", digest=digest)
            return
        await self._delete(name)

    async def restore(self, digest: str) -> bool:
        name = object_name(digest)
        if await self._head(name):
            return False
        discarded = sorted([found async for found in self._list(trash_folder(digest))], key=time_of, reverse=True)
        for found in discarded:
            if await self._copy(found, name):
                return True
        return False

    async def trash(self) -> AsyncIterator[StoredBlob]:
        async for found in self._list(TRASH):
            digest = digest_of(found["path"].removeprefix(f"{TRASH}/").rpartition("/")[0])
            if digest is not None:
                yield StoredBlob(digest, found["size"], found["last_modified"])

    async def purge(self, discarded: StoredBlob) -> bool:
        names = [
            found["path"] async for found in self._list(trash_folder(discarded.digest)) if time_of(found) == discarded.modified_at
        ]
        for name in names:
            await self._delete(name)
        return bool(names)

    async def _upload(self, path: Path, name: str, size: int) -> None:
        """Sends a file if it is not there already. To be there a moment is enough: see the class."""
        if size <= SMALL and await self._created(name, await asyncio.to_thread(path.read_bytes)):
            return
        found = await self._head(name)
        if found is None or found["size"] != size:
            part = max(PART, math.ceil(size / MOST_PARTS))
            with answers(gone="the bucket"):
                await self._bucket.put_async(name, path, chunk_size=part, max_concurrency=PARTS_AT_ONCE)

    async def _created(self, name: str, data: bytes) -> bool:
        """Stores small content unless there is some, or the store knows no such condition."""
        with answers(gone="the bucket"), suppress(AlreadyExistsError, NotSupportedError):
            await self._bucket.put_async(name, data, mode="create")
            return True
        return False

    async def _fetch(self, digest: str) -> Path:
        """A copy in the cache. Raises ContentCorrupted."""
        kept: list[Path] = []

        async def keep(path: Path, blob: Blob) -> None:
            await asyncio.to_thread(path.chmod, 0o444)
            kept.append(await asyncio.to_thread(self._cache.add, path, blob.digest))

        async with self._transfers, writing(self.scratch, sys.maxsize, keep) as writer:
            async for chunk in self._download(digest):
                await writer.write(chunk)
            await writer.commit()
        return kept[0]

    async def _download(self, digest: str, offset: int = 0, chunk_size: int = READ) -> AsyncGenerator[bytes, None]:
        """The content from the bucket. Raises ContentCorrupted if it is gone, or read from its start and found to be damaged."""
        found = await self._open(digest, offset)
        if found is None:
            return
        sha256 = hashlib.sha256()
        with answers(gone="the content that was being read"):
            async for buffer in found.stream(min_chunk_size=chunk_size):
                sha256.update(buffer)
                for start in range(0, len(buffer), chunk_size):
                    yield bytes(buffer[start : start + chunk_size])
        if not offset and f"sha256:{sha256.hexdigest()}" != digest:
            raise ContentCorrupted(f"the stored content {digest} is damaged", digest=digest)

    async def _open(self, digest: str, offset: int) -> "GetResult | None":
        """The object, to be read from `offset`; None if nothing is left there. Raises ContentCorrupted if there is none, in the
        trash neither."""
        name = object_name(digest)
        for _ in range(LOOKS):
            with suppress(FileNotFoundError), answers():
                if not offset:
                    return await self._bucket.get_async(name)
                # A range that begins at the end would be refused.
                if (await self._bucket.head_async(name))["size"] <= offset:
                    return None
                return await self._bucket.get_async(name, options={"range": {"offset": offset}})
            await self.restore(digest)
        raise missing(digest)

    async def _head(self, name: str) -> "ObjectMeta | None":
        with suppress(FileNotFoundError), answers():
            return await self._bucket.head_async(name)
        return None

    async def _copy(self, source: "ObjectMeta", target: str) -> bool:
        """Copies an object; whether it was there."""
        with suppress(FileNotFoundError), answers():
            if source["size"] <= self._largest_copy:
                await self._bucket.copy_async(source["path"], target)
            else:
                found = await self._bucket.get_async(source["path"])
                part = max(PART, math.ceil(source["size"] / MOST_PARTS))
                await self._bucket.put_async(target, found.stream(min_chunk_size=part), chunk_size=part, max_concurrency=1)
            return True
        return False

    async def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError), answers():
            await self._bucket.delete_async(name)

    async def _list(self, folder: str) -> AsyncIterator["ObjectMeta"]:
        with answers():
            async for found in self._bucket.list(folder, chunk_size=LISTED_AT_ONCE):
                for one in found:
                    yield one


def object_name(digest: str) -> str:
    return f"{CONTENT}/{name_of(digest)}"


def trash_folder(digest: str) -> str:
    return f"{TRASH}/{name_of(digest)}"


def time_of(found: "ObjectMeta") -> datetime:
    return found["last_modified"]
