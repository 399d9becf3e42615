"""What a process of a server stands on, and how it comes about."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from .artifacts.blobs.interface import BlobStore
from .artifacts.blobs.opening import open_blob_store
from .data_folder import claim_data_dir, worker_id
from .database.engine import Database
from .database.neighbours import Neighbours
from .execution.interface import Executor
from .execution.local import LocalExecutor
from .runners import RunnerRegistry
from .settings import Settings

# A process is launched in a few milliseconds; then the event loop may stand still while runners are imported.
LAUNCH_SECONDS = 0.05
DATABASE_FILE = "modelwire.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What everything else stands on: where things are kept, what is served, and the processes that do the work. `worker_id` is who takes
    jobs."""

    settings: Settings
    data_dir: Path
    blobs: BlobStore
    database: Database
    executor: Executor
    runners: RunnerRegistry
    worker_id: str


async def prepare(stack: AsyncExitStack, settings: Settings) -> Ground:
    """Opens what is kept, launches the processes for jobs and imports the runners; `stack` closes it all. Raises StartError,
    TargetError."""
    data_dir = claim_data_dir(stack, settings.data_dir)
    blobs = await open_blobs(stack, settings, data_dir)
    executor = local_executor(stack, settings, data_dir, blobs, worker_id(data_dir))
    runners = await load_runners(settings.targets, executor, settings.all_expected_models)
    database = await open_database(stack, settings, data_dir)
    return Ground(
        settings=settings,
        data_dir=data_dir,
        blobs=blobs,
        database=database,
        executor=executor,
        runners=runners,
        worker_id=worker_id(data_dir),
    )


async def open_blobs(stack: AsyncExitStack, settings: Settings, data_dir: Path) -> BlobStore:
    """Opens the store of content; `stack` closes it. Raises StartError."""
    blobs = open_blob_store(
        settings.blobs_url, data_dir, max_bytes=settings.max_artifact_bytes, cache_bytes=settings.blob_cache_bytes
    )
    await blobs.open()
    stack.push_async_callback(blobs.close)
    return blobs


def local_executor(stack: AsyncExitStack, settings: Settings, data_dir: Path, blobs: BlobStore, owner: str) -> LocalExecutor:
    """What runs jobs on this machine, not started yet; `stack` ends it."""
    private = [data_dir, blobs.scratch.parent.parent]
    executor = LocalExecutor(settings.targets, slots=settings.max_jobs, private=private, owner=owner, compile=settings.compiles)
    stack.push_async_callback(executor.close)
    return executor


async def open_database(
    stack: AsyncExitStack, settings: Settings, data_dir: Path, neighbours: Neighbours | None = None
) -> Database:
    """Opens the database; `stack` closes it. `neighbours` are other processes of this server on an SQLite database. Raises
    StorageUnavailable."""
    database = await Database.open(settings.database_url or f"sqlite:///{data_dir / DATABASE_FILE}", neighbours=neighbours)
    stack.push_async_callback(database.close)
    return database


async def load_runners(targets: Sequence[str], executor: LocalExecutor, expected_models: Sequence[str] = ()) -> RunnerRegistry:
    """Imports the runners here, while the fork server, just launched, imports them for itself. Raises TargetError.

    Not in a thread: what else is imported meanwhile could get at modules that are only half there."""
    starting = asyncio.create_task(executor.start())
    await asyncio.wait({starting}, timeout=LAUNCH_SECONDS)
    try:
        runners = RunnerRegistry.load(targets, expected_models)
    except BaseException:
        starting.cancel()
        await asyncio.wait({starting})
        raise
    await starting
    return runners
