"""Uploads, reads and deletions at the same moment: what somebody relies on is never lost."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from modelwire_server.artifacts.blobs.interface import BlobStore, StoredBlob
from modelwire_server.artifacts.blobs.objects import ObjectBlobStore
from modelwire_server.artifacts.blobs.opening import open_blob_store
from modelwire_server.errors import ContentCorrupted

MAX_BYTES = 1 << 24
CONTENT = b"the content"


class Killed(Exception):
    """What a server meets that takes no further step."""


class Steps:
    """Lets tasks take their steps one at a time, in the order of `choices`. Who comes to one of the steps `fatal` is killed there."""

    def __init__(self, choices: Sequence[int], fatal: set[int]) -> None:
        self._choices = list(choices)
        self._fatal = fatal
        self._taken = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._left = 0

    async def turn(self) -> None:
        """Waits until the caller may take its next step."""
        if self._left:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            self._next()
            await future
            self._taken += 1
            if self._taken in self._fatal:
                raise Killed

    async def run(self, works: Sequence[Coroutine[Any, Any, None]]) -> list[bool]:
        """Whether each came to its end."""
        self._left = len(works)
        return await asyncio.gather(*map(self._done, works))

    async def _done(self, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
            return True
        except Killed:
            return False
        finally:
            self._left -= 1
            self._next()

    def _next(self) -> None:
        """Lets somebody go on once everybody is at a step."""
        if self._waiting and len(self._waiting) == self._left:
            choice = self._choices.pop() if self._choices else 0
            self._waiting.pop(choice % len(self._waiting)).set_result(None)


class SteppedBucket:
    """A bucket in memory whose every request waits for its turn."""

    def __init__(self, steps: Steps) -> None:
        self._bucket = MemoryStore()
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._bucket, name)

        async def stepped(*arguments: Any, **more: Any) -> Any:
            await self._steps.turn()
            return await method(*arguments, **more)

        return stepped

    async def list(self, folder: str, **_: Any) -> AsyncIterator[Any]:
        await self._steps.turn()
        yield await self._bucket.list(folder).collect_async()


async def read(blobs: BlobStore, digest: str) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(digest)])


# What goes on at the same moment: each is done by a server of its own. `old` was in the trash before.
Work = Callable[[BlobStore, str, list[StoredBlob]], Coroutine[Any, Any, None]]


async def upload(blobs: BlobStore, digest: str, old: list[StoredBlob]) -> None:
    assert (await blobs.put(CONTENT)).digest == digest


async def discard(blobs: BlobStore, digest: str, old: list[StoredBlob]) -> None:
    await blobs.discard(digest)


async def restore(blobs: BlobStore, digest: str, old: list[StoredBlob]) -> None:
    await blobs.restore(digest)


async def fetch(blobs: BlobStore, digest: str, old: list[StoredBlob]) -> None:
    # It may be gone, since nobody said that it is wanted.
    with suppress(ContentCorrupted):
        assert await read(blobs, digest) == CONTENT


async def purge(blobs: BlobStore, digest: str, old: list[StoredBlob]) -> None:
    for discarded in old:
        await blobs.purge(discarded)


WORKS: dict[str, Work] = {work.__name__: work for work in (upload, discard, restore, fetch, purge)}


@settings(max_examples=100, deadline=None)
@given(
    works=st.lists(st.sampled_from(list(WORKS)), min_size=2, max_size=5),
    choices=st.lists(st.integers(0, 4), max_size=40),
    fatal=st.sets(st.integers(1, 12), max_size=2),
    stored=st.booleans(),
    trashed=st.integers(0, 2),
)
def test_no_order_of_steps_loses_content_that_was_seen_or_sent(
    works: list[str], choices: list[int], fatal: set[int], stored: bool, trashed: int
) -> None:
    async def main(folder: Path) -> None:
        steps = Steps(choices, fatal)
        bucket: Any = SteppedBucket(steps)
        servers = [
            ObjectBlobStore(bucket, "memory", folder / str(n), max_bytes=MAX_BYTES, cache_bytes=MAX_BYTES)
            for n in range(len(works) + 2)
        ]
        for server in servers:
            await server.open()
        first = servers[0]
        blob = await first.put(CONTENT)
        for _ in range(trashed):
            await first.discard(blob.digest)
            await first.put(CONTENT)
        old = [found async for found in first.trash()]
        if not stored:
            await first.discard(blob.digest)
            for found in [found async for found in first.trash() if found not in old]:
                await first.purge(found)
        done = await steps.run([WORKS[work](server, blob.digest, old) for work, server in zip(works, servers[1:-1], strict=True)])
        if stored or any(work == "upload" and ended for work, ended in zip(works, done, strict=True)):
            assert await read(servers[-1], blob.digest) == CONTENT
            assert [found.digest async for found in servers[-1].entries()] == [blob.digest]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))


@pytest.fixture(params=["files", "objects"])
def blobs_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url: str = str(tmp_path / "blobs") if request.param == "files" else request.getfixturevalue("object_store_url")
    return url


def test_servers_that_upload_and_collect_for_a_while(blobs_url: str, tmp_path: Path) -> None:
    """Several servers on one store: some store and look again, some discard all that is there."""
    contents = [bytes([n]) * 100 for n in range(4)]
    done = asyncio.Event()

    async def use(blobs: BlobStore) -> None:
        for content in contents * 5:
            blob = await blobs.put(content)
            assert await read(blobs, blob.digest) == content

    async def collect(blobs: BlobStore) -> None:
        while not done.is_set():
            for found in [found async for found in blobs.entries()]:
                await blobs.discard(found.digest)

    async def main() -> None:
        servers = [open_blob_store(blobs_url, tmp_path / str(n), max_bytes=MAX_BYTES, cache_bytes=MAX_BYTES) for n in range(4)]
        for server in servers:
            await server.open()
        async with asyncio.TaskGroup() as group:
            collectors = [group.create_task(collect(server)) for server in servers[:2]]
            await asyncio.gather(*[use(server) for server in servers[2:]])
            done.set()
            await asyncio.gather(*collectors)
        for server in servers:
            await server.close()

    asyncio.run(main())
