import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from modelwire_runners import BaseConfig, FunctionalModelRunner, RunnerInfo
from modelwire_server.artifacts.blobs.files import FileBlobStore
from modelwire_server.artifacts.tree import ArtifactTree
from modelwire_server.configs.catalog import ConfigCatalog
from modelwire_server.database.engine import Database
from modelwire_server.runners import RunnerRegistry


class Config(BaseConfig):
    depth: int = 3
    lags: int = Field(default=1, alias="n-lags")
    note: str | None = "none"


def nothing(config: Config, data: Any) -> None: ...


def nothing_predicted(config: Config, model: Any, historic: Any, future: Any) -> Any: ...


RUNNER = FunctionalModelRunner(nothing, nothing_predicted, config_schema=Config, info=RunnerInfo(id="trees"))


@dataclass(frozen=True)
class Storage:
    """Everything that stores, on a folder of its own."""

    database: Database
    blobs: FileBlobStore
    tree: ArtifactTree
    configs: ConfigCatalog
    deleted: list[str]


@asynccontextmanager
async def opened(folder: Path, database_url: str) -> AsyncIterator[Storage]:
    async with AsyncExitStack() as stack:
        database = await Database.open(database_url)
        stack.push_async_callback(database.close)
        blobs = FileBlobStore(folder / "blobs", max_bytes=1 << 24)
        await blobs.open()
        runners = RunnerRegistry([RUNNER])
        deleted: list[str] = []
        tree = ArtifactTree(database, blobs, runners.hierarchy, deleted.extend)
        yield Storage(database, blobs, tree, ConfigCatalog(database, runners, deleted.extend), deleted)


Use = Callable[[Storage], Coroutine[Any, Any, None]]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database of each kind."""
    url: str = f"sqlite:///{tmp_path / 'test.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def with_storage(tmp_path: Path, database_url: str) -> Callable[[Use], None]:
    """Runs a coroutine function on a fresh storage."""

    def run(use: Use) -> None:
        async def main() -> None:
            async with opened(tmp_path, database_url) as storage:
                await use(storage)

        asyncio.run(main())

    return run
