"""Storage on SQLite and on PostgreSQL, and artifacts that look as if a job had made them long ago."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modelwire_runners import FunctionalModelRunner, RunnerInfo
from modelwire_server.artifacts import store as artifact_store
from modelwire_server.artifacts.blobs.files import FileBlobStore
from modelwire_server.artifacts.model import MODEL_TYPE, PREDICTION_TYPE, Artifact, ArtifactInput, Blob
from modelwire_server.artifacts.tree import ArtifactTree
from modelwire_server.clock import new_id, now
from modelwire_server.configs.catalog import ConfigCatalog
from modelwire_server.database.engine import Database
from modelwire_server.jobs import store as job_store
from modelwire_server.jobs.model import EventKind, Job, JobKind, JobStatus, NewEvent
from modelwire_server.jobs.submission import accepted
from modelwire_server.runners import RunnerRegistry


def nothing(config: Any, data: Any) -> None: ...


def nothing_predicted(config: Any, model: Any, historic: Any, future: Any) -> Any: ...


RUNNER = FunctionalModelRunner(nothing, nothing_predicted, info=RunnerInfo(id="trees"))


@dataclass(frozen=True)
class Storage:
    """Everything that stores, and shortcuts for what servers leave behind."""

    database: Database
    blobs: FileBlobStore
    tree: ArtifactTree
    configs: ConfigCatalog

    async def artifact(
        self,
        *,
        days: float = 0,
        parent: Artifact | None = None,
        content: bytes | None = None,
        **fields: Any,
    ) -> Artifact:
        """An artifact that was made so many days ago."""
        time = now() - timedelta(days=days)
        blob: Blob | None = None if content is None else await self.blobs.put(content)
        artifact = Artifact(
            **{
                "id": new_id(),
                "type": MODEL_TYPE if parent is None else PREDICTION_TYPE,
                "runner_id": "trees",
                "content_type": "application/octet-stream",
                "parent_id": parent and parent.id,
                "level": parent.level + 1 if parent else 0,
                "blob": blob,
                "created_at": time,
                "updated_at": time,
                "inputs": (ArtifactInput("job", new_id()),),
                **fields,
            }
        )
        await self.database.write(lambda tx: artifact_store.insert(tx, artifact))
        return artifact

    async def job(self, status: JobStatus = JobStatus.PENDING, *, days: float = 0, **fields: Any) -> Job:
        """A job that was submitted so many days ago and is in this state."""
        time = now() - timedelta(days=days)
        job = Job(
            **{
                "id": new_id(),
                "kind": JobKind.TRAIN,
                "runner_id": "trees",
                "artifact_id": new_id(),
                "submitted_at": time,
                "input": {"frames": {}, "config": {}, "run_info": {}, "tags": []},
                **fields,
            }
        )
        made = NewEvent(EventKind.ARTIFACT, {"artifact_id": job.artifact_id, "type": MODEL_TYPE, "content_size": 0}, time)

        def insert(tx: Any) -> None:
            job_store.insert(tx, job, [accepted(job)])
            if status.is_final:
                job_store.finish(tx, job.id, status, extra_events=[made] if status is JobStatus.COMPLETED else [])

        await self.database.write(insert)
        return job

    async def ids(self) -> set[str]:
        return {artifact.id for artifact in (await self.tree.list()).items}


@asynccontextmanager
async def opened(folder: Path, url: str) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        database = await Database.open(url)
        stack.push_async_callback(database.close)
        blobs = FileBlobStore(folder / "blobs", max_bytes=1 << 24)
        await blobs.open()
        stack.push_async_callback(blobs.close)
        runners = RunnerRegistry([RUNNER])
        tree = ArtifactTree(database, blobs, runners.hierarchy)
        yield Storage(database, blobs, tree, ConfigCatalog(database, runners))


Use = Callable[[Storage], Awaitable[None]]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'modelwire.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def with_storage(tmp_path: Path, database_url: str) -> Callable[[Use], None]:
    """Runs a coroutine function on a fresh storage, on each kind of database."""

    def run(use: Use) -> None:
        async def main() -> None:
            async with opened(tmp_path, database_url) as storage:
                await use(storage)

        asyncio.run(main())

    return run
