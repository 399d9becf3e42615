"""Storage on SQLite and on PostgreSQL, and artifacts that look as if a job had made them long ago."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modelwire_runners import FunctionalModelRunner, RunnerInfo
from modelwire_server.artifacts import store as artifact_store
from modelwire_server.artifacts.blobs.files import FileBlobStore
from modelwire_server.artifacts.model import MODEL_TYPE, PREDICTION_TYPE, WORKSPACE, Artifact, ArtifactInput, Blob
from modelwire_server.artifacts.tree import ArtifactTree
from modelwire_server.artifacts.workspace import Workspace, WorkspaceFile
from modelwire_server.clock import new_id, now
from modelwire_server.configs.catalog import ConfigCatalog
from modelwire_server.database.engine import Database, Transaction, make_engine
from modelwire_server.database.export import rows_of, table_names
from modelwire_server.jobs import claims
from modelwire_server.jobs import store as job_store
from modelwire_server.jobs.model import EventKind, Job, JobKind, JobStatus, NewEvent
from modelwire_server.jobs.submission import first_events
from modelwire_server.registry import store as registry
from modelwire_server.registry.model import Facts, ModelEventKind, ModelVersion, Stage
from modelwire_server.runners import RunnerRegistry


def nothing(config: Any, data: Any) -> None: ...


def nothing_predicted(config: Any, model: Any, historic: Any, future: Any) -> Any: ...


RUNNER = FunctionalModelRunner(nothing, nothing_predicted, info=RunnerInfo(id="trees"))


@dataclass(frozen=True)
class Storage:
    """Everything that stores, and shortcuts for what servers leave behind."""

    folder: Path
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
            job_store.insert(tx, job, first_events(job))
            if status.is_final:
                job_store.finish(tx, job.id, status, extra_events=[made] if status is JobStatus.COMPLETED else [])

        await self.database.write(insert)
        return job

    async def workspace(self, files: dict[str, bytes], **fields: Any) -> Artifact:
        """An artifact whose content is a list of files."""
        blobs = {path: await self.blobs.put(content) for path, content in files.items()}
        listed = Workspace(files=[WorkspaceFile(path, blob.digest, blob.size) for path, blob in blobs.items()])
        return await self.artifact(content=listed.to_json(), content_type=WORKSPACE, **fields)

    async def busy_year(self, *, named: bool = True) -> None:
        """Something in every table, or in all but those of the registry."""
        config = await self.configs.create(name="yearly", data={"depth": 2, "note": "Übung"}, request_id=new_id())
        model = await self.artifact(content=b"model", tags=("a", "b"), metadata={"config": {"depth": 2}, "score": 0.5})
        await self.configs.link(config.id, model.id)
        frame = await self.blobs.put(b"frame")
        prediction = await self.artifact(parent=model, content=b"", inputs=(ArtifactInput("historic", digest=frame.digest),))
        await self.workspace({"train.sh": b"true", "data/x.csv": b"x"}, parent=prediction)
        # Its children were made before it: rows are not in the order of their ids.
        await self.tree.update(model.id, parent_id=(await self.artifact(days=1, content=b"root")).id)
        geo = await self.blobs.put(b"geo")
        await self.job(JobStatus.COMPLETED, days=3)
        await self.job(input={"frames": {"data": frame.digest}, "geo": geo.digest})
        running = await self.job()
        lease = {"runners": ["trees"], "limits": {}, "total": 9, "lease": timedelta(hours=1)}
        await self.database.write(lambda tx: claims.claim(tx, new_id(), **lease))
        line = NewEvent(EventKind.LOG, {"source": "stdout", "text": "line \u2028 \U0001f333"}, now())
        await self.database.write(lambda tx: job_store.append_events(tx, running.id, [line]))
        if named:
            await self.database.write(lambda tx: self._register(tx, model.id))

    def _register(self, tx: Transaction, artifact_id: str) -> None:
        """Names a model, points an alias to it, and follows what happened."""
        registry.insert(tx, "weather", now())
        model = registry.get(tx, "weather")
        assert model is not None
        version = ModelVersion(
            id=new_id(),
            name=model.name,
            version=registry.next_version(tx, model),
            artifact_id=artifact_id,
            facts=Facts(metrics={"error": float("nan")}, features=("x",)),
            stage=Stage.STAGING,
            description="",
            tags=("a",),
            aliases=(),
            created_at=now(),
        )
        registry.insert_version(tx, model, version)
        registry.point(tx, model, "production", version.version, [])
        registry.request_reload(tx, model.name)
        sequence = registry.tell(tx, ModelEventKind.REGISTERED, model.name, version=version.version)
        registry.follow(tx, new_id(), sequence, timedelta(seconds=1))

    async def rows(self) -> dict[str, list[dict[str, Any]]]:
        """All that is in the database."""
        return await self.database.snapshot(lambda tx: {name: list(rows_of(tx, name)) for name in table_names()})

    async def digests(self) -> set[str]:
        return {blob.digest async for blob in self.blobs.entries()}

    def path(self, digest: str) -> Path:
        """The file with the content, for those who do harm."""
        return self.folder / "blobs" / "sha256" / digest[7:9] / digest[9:]

    def damage(self, digest: str) -> None:
        path = self.path(digest)
        path.chmod(0o644)
        path.write_bytes(b"?" * path.stat().st_size)

    async def ids(self) -> set[str]:
        return {artifact.id for artifact in (await self.tree.list()).items}


@asynccontextmanager
async def opened(folder: Path, url: str, *, migrated: bool = True) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        database = Database(make_engine(url, 4), readers=4)
        stack.push_async_callback(database.close)
        if migrated:
            await database.migrate()
        blobs = FileBlobStore(folder / "blobs", max_bytes=1 << 24)
        await blobs.open()
        stack.push_async_callback(blobs.close)
        runners = RunnerRegistry([RUNNER])
        tree = ArtifactTree(database, blobs, runners.hierarchy)
        yield Storage(folder, database, blobs, tree, ConfigCatalog(database, runners))


Elsewhere = Callable[[str], AbstractAsyncContextManager[Storage]]


@pytest.fixture(params=["sqlite", "postgresql"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Elsewhere]:
    """Opens storage that is not there yet, by its name, on each kind of database."""
    with ExitStack() as stack:
        databases: dict[str, str] = {}

        def open_it(name: str) -> AbstractAsyncContextManager[Storage]:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            if request.param == "postgresql" and name not in databases:
                databases[name] = stack.enter_context(request.getfixturevalue("postgres").database())
            return opened(folder, databases.get(name) or f"sqlite:///{folder / 'modelwire.db'}", migrated=False)

        yield open_it


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
