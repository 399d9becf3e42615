"""What every store of content does."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modelwire_server.artifacts.blobs.interface import BlobStore, StoredBlob, Usage
from modelwire_server.artifacts.blobs.opening import open_blob_store
from modelwire_server.artifacts.model import Blob
from modelwire_server.clock import now
from modelwire_server.errors import ContentCorrupted, ContentTooLarge

MAX_BYTES = 1 << 24
UNKNOWN = "sha256:" + "0" * 64
CONTENT = b"the content"

Use = Callable[[BlobStore], Coroutine[Any, Any, None]]
Run = Callable[[Use], None]


@asynccontextmanager
async def opened(store: BlobStore) -> AsyncIterator[BlobStore]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["files", "objects"])
def blobs_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind, which any number of servers may share."""
    url: str = str(tmp_path / "blobs") if request.param == "files" else request.getfixturevalue("object_store_url")
    return url


@pytest.fixture
def with_blobs(blobs_url: str, tmp_path: Path) -> Run:
    """Runs a coroutine function on an empty store."""

    def run(use: Use) -> None:
        async def main() -> None:
            async with opened(open_blob_store(blobs_url, tmp_path, max_bytes=MAX_BYTES, cache_bytes=MAX_BYTES)) as blobs:
                await use(blobs)

        asyncio.run(main())

    return run


async def read(blobs: BlobStore, digest: str, offset: int = 0, chunk_size: int = 3) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(digest, offset=offset, chunk_size=chunk_size)])


async def listed(blobs: BlobStore) -> list[str]:
    return sorted([blob.digest async for blob in blobs.entries()])


async def trashed(blobs: BlobStore) -> list[StoredBlob]:
    return [blob async for blob in blobs.trash()]


def blob_of(content: bytes) -> Blob:
    return Blob(f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))


def test_content_comes_back_by_its_digest(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        blob = await blobs.put(CONTENT)
        assert blob == blob_of(CONTENT)
        assert await read(blobs, blob.digest) == CONTENT
        assert await read(blobs, blob.digest, offset=4) == b"content"
        assert await read(blobs, blob.digest, offset=len(CONTENT)) == b""
        assert (await blobs.local_path(blob.digest)).read_bytes() == CONTENT
        assert await blobs.verify(blob.digest)

    with_blobs(use)


def test_empty_content_is_content(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        blob = await blobs.put(b"")
        assert await read(blobs, blob.digest) == b""
        assert (await blobs.local_path(blob.digest)).read_bytes() == b""
        assert await blobs.usage() == Usage(1, 0)

    with_blobs(use)


def test_large_content_comes_in_chunks(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        content = os.urandom(13_000_001)
        async with blobs.writer() as writer:
            for start in range(0, len(content), 1_000_000):
                await writer.write(content[start : start + 1_000_000])
            blob = await writer.commit()
        assert blob == blob_of(content)
        assert await read(blobs, blob.digest, chunk_size=1 << 20) == content
        assert await read(blobs, blob.digest, offset=12_999_999) == content[-2:]
        sizes = [len(chunk) async for chunk in blobs.read(blob.digest, chunk_size=1 << 20)]
        assert max(sizes) <= 1 << 20

    with_blobs(use)


def test_equal_content_is_stored_once(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        before = now() - timedelta(seconds=2)
        made = await asyncio.gather(*[blobs.put(CONTENT) for _ in range(8)], blobs.put(b"other"))
        entries = [entry async for entry in blobs.entries()]
        assert {(entry.digest, entry.size) for entry in entries} == {(blob.digest, blob.size) for blob in made}
        assert all(before < entry.modified_at < now() + timedelta(seconds=2) for entry in entries)
        assert await blobs.usage() == Usage(2, len(CONTENT) + len(b"other"))

    with_blobs(use)


def test_content_above_the_limit_is_refused(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        with pytest.raises(ContentTooLarge):
            await blobs.put(bytes(MAX_BYTES + 1))
        path = blobs.scratch / "made"
        path.write_bytes(CONTENT)
        with pytest.raises(ContentTooLarge):
            await blobs.adopt(path, Blob(blob_of(CONTENT).digest, MAX_BYTES + 1))
        path.unlink()
        assert await listed(blobs) == []
        assert not any(blobs.scratch.iterdir())

    with_blobs(use)


def test_what_is_not_committed_leaves_nothing(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        async with blobs.writer() as writer:
            await writer.write(CONTENT)
            await writer.flush()
            assert writer.path.read_bytes() == CONTENT
        assert await listed(blobs) == []
        assert not any(blobs.scratch.iterdir())

    with_blobs(use)


def test_a_file_is_adopted_under_its_digest(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        blob = blob_of(CONTENT)
        for _ in range(2):
            path = blobs.scratch / "made"
            path.write_bytes(CONTENT)
            await blobs.adopt(path, blob)
            assert not path.exists()
            assert await read(blobs, blob.digest) == CONTENT

    with_blobs(use)


def test_nobody_can_change_content_through_another_name_of_its_file(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        path, other = blobs.scratch / "made", blobs.scratch / "other"
        path.write_bytes(CONTENT)
        other.hardlink_to(path)
        blob = blob_of(CONTENT)
        await blobs.adopt(path, blob)
        assert not path.exists()
        other.write_bytes(b"evil")
        assert await blobs.verify(blob.digest)
        assert (await blobs.local_path(blob.digest)).read_bytes() == CONTENT

    with_blobs(use)


def test_missing_content_is_told(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        for digest in (UNKNOWN, "sha256:../../etc/passwd", ""):
            with pytest.raises(ContentCorrupted):
                await read(blobs, digest)
            with pytest.raises(ContentCorrupted):
                await blobs.local_path(digest)
            assert not await blobs.verify(digest)

    with_blobs(use)


def test_discarded_content_is_back_for_whoever_looks_for_it(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        blob = await blobs.put(CONTENT)

        async def upload() -> Blob:
            return await blobs.put(CONTENT)

        for look in (read(blobs, blob.digest), upload(), blobs.local_path(blob.digest), blobs.restore(blob.digest)):
            await blobs.discard(blob.digest)
            assert await listed(blobs) == []
            assert {(entry.digest, entry.size) for entry in await trashed(blobs)} == {(blob.digest, blob.size)}
            await look
            assert await listed(blobs) == [blob.digest]
            assert await read(blobs, blob.digest) == CONTENT

    with_blobs(use)


def test_concurrent_looks_at_discarded_content(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        blob = await blobs.put(CONTENT)
        for _ in range(5):
            await blobs.discard(blob.digest)
            found = await asyncio.gather(*[read(blobs, blob.digest) for _ in range(8)])
            assert found == [CONTENT] * 8

    with_blobs(use)


def test_purged_content_is_gone(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        blob = await blobs.put(CONTENT)
        await blobs.discard(blob.digest)
        [discarded] = await trashed(blobs)
        assert await blobs.purge(discarded)
        assert not await blobs.purge(discarded)
        assert not await blobs.restore(blob.digest)
        assert await trashed(blobs) == []
        with pytest.raises(ContentCorrupted):
            await read(blobs, blob.digest)
        assert await blobs.put(CONTENT) == blob
        assert await read(blobs, blob.digest) == CONTENT

    with_blobs(use)


def test_what_was_restored_or_discarded_anew_is_not_purged(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        blob = await blobs.put(CONTENT)
        await blobs.discard(blob.digest)
        [discarded] = await trashed(blobs)
        await blobs.restore(blob.digest)
        await blobs.purge(discarded)
        assert await read(blobs, blob.digest) == CONTENT
        await blobs.discard(blob.digest)
        assert not await blobs.purge(StoredBlob(blob.digest, blob.size, discarded.modified_at - timedelta(hours=1)))
        assert await read(blobs, blob.digest) == CONTENT

    with_blobs(use)


def test_discarding_what_is_not_there(with_blobs: Run) -> None:
    async def use(blobs: BlobStore) -> None:
        await blobs.discard(UNKNOWN)
        assert not await blobs.restore(UNKNOWN)
        assert await trashed(blobs) == []

    with_blobs(use)
