"""Content that nothing refers to goes, all other stays."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from storages import POSTGRESQL_AND_OBJECTS, SQLITE_AND_FILES, StorageUrls, new_storage

from modelwire_server.artifacts import store
from modelwire_server.artifacts.blobs.interface import BlobStore
from modelwire_server.artifacts.blobs.opening import open_blob_store
from modelwire_server.artifacts.garbage import Collected, collect
from modelwire_server.artifacts.model import COMPILED, WORKSPACE, Artifact, ArtifactInput, Blob
from modelwire_server.artifacts.workspace import Workspace, WorkspaceFile
from modelwire_server.clock import new_id, now
from modelwire_server.database.engine import Database
from modelwire_server.errors import ContentCorrupted
from modelwire_server.jobs import store as job_store
from modelwire_server.jobs.model import Job, JobKind
from modelwire_server.jobs.submission import first_events

# So old is everything; times of objects are whole seconds.
AT_ONCE = timedelta(seconds=-2)


@dataclass(frozen=True)
class Place:
    database: Database
    blobs: BlobStore

    async def artifact(self, blob: Blob | None, content_type: str = "text/plain", **fields: Any) -> Artifact:
        made = Artifact(id=new_id(), type="x", content_type=content_type, blob=blob, created_at=now(), updated_at=now(), **fields)
        await self.database.write(lambda tx: store.insert(tx, made))
        return made

    async def workspace(self, *contents: bytes) -> tuple[Blob, list[Blob]]:
        """Content that lists others."""
        blobs = [await self.blobs.put(content) for content in contents]
        files = [WorkspaceFile(str(number), blob.digest, blob.size) for number, blob in enumerate(blobs)]
        return await self.blobs.put(Workspace(files).to_json()), blobs

    async def job(self, **order: Any) -> None:
        made = Job(
            id=new_id(),
            kind=JobKind.PREDICT,
            runner_id="trees",
            artifact_id=new_id(),
            submitted_at=now(),
            input={"frames": {}, "config": {}, "run_info": {}, "tags": [], **order},
        )
        await self.database.write(lambda tx: job_store.insert(tx, made, first_events(made)))

    async def collect(self, **options: Any) -> Collected:
        return await collect(self.database, self.blobs, **{"grace": AT_ONCE, **options})

    async def stored(self) -> set[str]:
        return {found.digest async for found in self.blobs.entries()}

    async def trashed(self) -> set[str]:
        return {found.digest async for found in self.blobs.trash()}


@pytest.fixture(params=[SQLITE_AND_FILES, POSTGRESQL_AND_OBJECTS])
def urls(request: pytest.FixtureRequest) -> Iterator[StorageUrls]:
    with new_storage(request.param, request) as urls:
        yield urls


Use = Callable[[Place], Coroutine[Any, Any, None]]
Run = Callable[[Use], None]


@pytest.fixture
def at(urls: StorageUrls, tmp_path: Path) -> Run:
    def run(use: Use) -> None:
        async def main() -> None:
            database = await Database.open(urls.database_url or f"sqlite:///{tmp_path / 'test.db'}")
            blobs = open_blob_store(urls.blobs_url, tmp_path, max_bytes=1 << 20, cache_bytes=1 << 20)
            await blobs.open()
            try:
                await use(Place(database, blobs))
            finally:
                await blobs.close()
                await database.close()

        asyncio.run(main())

    return run


def test_content_goes_in_two_steps(at: Run) -> None:
    async def use(place: Place) -> None:
        kept, orphan = await place.blobs.put(b"kept"), await place.blobs.put(b"orphan")
        await place.artifact(kept)
        assert await place.collect(dry_run=True) == Collected(discarded=1)
        assert await place.stored() == {kept.digest, orphan.digest}
        assert await place.collect() == Collected(discarded=1)
        assert (await place.stored(), await place.trashed()) == ({kept.digest}, {orphan.digest})
        assert await place.collect() == Collected(purged=1, bytes=6)
        assert await place.collect() == Collected()
        assert (await place.stored(), await place.trashed()) == ({kept.digest}, set())

    at(use)


def test_what_came_lately_stays(at: Run) -> None:
    async def use(place: Place) -> None:
        blob = await place.blobs.put(b"an upload whose row is not there yet")
        assert await place.collect(grace=timedelta(hours=1)) == Collected()
        await place.blobs.discard(blob.digest)
        assert await place.collect(grace=timedelta(hours=1)) == Collected()
        assert await place.trashed() == {blob.digest}

    at(use)


def test_content_that_is_wanted_again_comes_back(at: Run) -> None:
    async def use(place: Place) -> None:
        blob = await place.blobs.put(b"found by an upload, then discarded, then referred to")
        await place.blobs.discard(blob.digest)
        await place.artifact(blob)
        assert await place.collect() == Collected(restored=1)
        assert await place.stored() == {blob.digest}
        assert (await place.collect()).restored == 0
        assert await place.trashed() == set()

    at(use)


def test_the_files_of_a_workspace_stay_as_long_as_it_does(at: Run) -> None:
    async def use(place: Place) -> None:
        listed, files = await place.workspace(b"one", b"two")
        shared, _ = await place.workspace(b"two", b"three")
        first, _ = await place.artifact(listed, WORKSPACE), await place.artifact(shared, WORKSPACE)
        everything = await place.stored()
        assert len(everything) == 5
        await place.collect()
        assert await place.stored() == everything
        await place.database.write(lambda tx: store.delete(tx, first.id))
        await place.collect()
        assert await place.stored() == everything - {listed.digest, files[0].digest}

    at(use)


def test_a_list_that_is_no_workspace_keeps_nothing(at: Run) -> None:
    async def use(place: Place) -> None:
        listed, files = await place.workspace(b"somebody else's")
        await place.artifact(listed, "application/json")
        await place.collect()
        assert await place.stored() == {listed.digest}
        await place.collect()
        with pytest.raises(ContentCorrupted):
            await place.blobs.local_path(files[0].digest)

    at(use)


def test_what_jobs_work_with_stays(at: Run) -> None:
    async def use(place: Place) -> None:
        frame, geo, model = [await place.blobs.put(content) for content in (b"frame", b"geo", b"model")]
        await place.job(frames={"future": frame.digest}, geo=geo.digest, model={"digest": model.digest, "size": model.size})
        listed, files = await place.workspace(b"weights", b"code")
        # The artifact of this model is gone.
        await place.job(model={"digest": listed.digest, "size": listed.size})
        used = await place.blobs.put(b"used")
        await place.artifact(None, "", inputs=(ArtifactInput("data", digest=used.digest),))
        await place.collect()
        assert await place.stored() == {blob.digest for blob in (frame, geo, model, listed, *files, used)}

    at(use)


def test_the_compiled_form_of_a_model_stays_as_long_as_it_does(at: Run) -> None:
    async def use(place: Place) -> None:
        graph = await place.blobs.put(b"graph")
        model = await place.artifact(await place.blobs.put(b"model"), inputs=(ArtifactInput(COMPILED, digest=graph.digest),))
        assert await place.collect() == Collected()
        await place.database.write(lambda tx: store.delete(tx, model.id))
        assert (await place.collect()).discarded == 2
        assert await place.stored() == set()

    at(use)


def test_a_damaged_list_does_not_stop_it(at: Run) -> None:
    async def use(place: Place) -> None:
        damaged = await place.blobs.put(b"{ this was a list")
        await place.artifact(damaged, WORKSPACE)
        await place.artifact(Blob("sha256:" + "0" * 64, 1), WORKSPACE)
        await place.blobs.put(b"orphan")
        assert (await place.collect()).discarded == 1
        assert await place.stored() == {damaged.digest}

    at(use)


def test_servers_that_collect_at_the_same_moment(at: Run) -> None:
    async def use(place: Place) -> None:
        kept, orphan = await place.blobs.put(b"kept"), await place.blobs.put(b"orphan")
        await place.artifact(kept)
        await place.blobs.discard(kept.digest)
        for _ in range(2):
            await asyncio.gather(*[place.collect() for _ in range(4)])
        await place.collect()
        assert (await place.stored(), await place.trashed()) == ({kept.digest}, set())
        assert not await place.blobs.verify(orphan.digest)

    at(use)
