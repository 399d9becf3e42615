"""The database and the content of a service, for commands that work on them beside a server or without one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from modelwire.cli.ends import ExitCode, Stop

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.blobs.opening import open_blob_store
from ..data_folder import claim_data_dir
from ..database.engine import Database, database_url, make_engine
from ..database.migrations import known_revisions, revision_of
from ..errors import ModelwireError, StartError, StorageUnavailable
from ..settings import Settings, SettingsError
from ..upkeep.refusal import Refused

T = TypeVar("T")
READERS = 2
# What can go wrong without a mistake of ours; the messages are for people.
FORESEEN = (Refused, StartError, ModelwireError, OSError)


@dataclass(frozen=True, slots=True)
class Stores:
    """What a service keeps."""

    database: Database
    blobs: BlobStore


def load_settings(config: Path | None, **arguments: Any) -> Settings:
    """The settings, as a server would have them. Raises Stop."""
    try:
        return Settings.load(config, **arguments)
    except SettingsError as error:
        raise Stop(str(error)) from None


def run_on(settings: Settings, work: Callable[[Stores], Awaitable[T]], *, to_fill: bool = False, any_version: bool = False) -> T:
    """Runs work on what a service keeps. Raises Stop.

    There must be something already, unless it is `to_fill`; its tables must be of the newest version, unless `any_version` will do.
    """

    async def main() -> T:
        async with opened(settings, to_fill=to_fill) as stores:
            if not to_fill and not any_version:
                await require_newest(stores.database)
            return await work(stores)

    with said_in_a_sentence():
        return asyncio.run(main())


@asynccontextmanager
async def opened(settings: Settings, *, to_fill: bool) -> AsyncIterator[Stores]:
    """The stores, to be used beside a server; those `to_fill` without one. Raises StartError if there is a server then."""
    async with AsyncExitStack() as stack:
        data_dir = settings.data_dir.resolve()
        url = settings.database_url or f"sqlite:///{data_dir / 'modelwire.db'}"
        if to_fill:
            claim_data_dir(stack, settings.data_dir)
        else:
            _require_file(url)
        database = Database(make_engine(url, READERS), readers=READERS)
        stack.push_async_callback(database.close)
        await database.check()
        blobs = open_blob_store(
            settings.blobs_url, data_dir, max_bytes=settings.max_artifact_bytes, cache_bytes=settings.blob_cache_bytes
        )
        await blobs.open()
        stack.push_async_callback(blobs.close)
        yield Stores(database, blobs)


def _require_file(url: str) -> None:
    """Raises Refused where SQLite would make a new database."""
    location = database_url(url)
    if location.drivername == "sqlite" and not Path(location.database or "").is_file():
        raise Refused(f"there is no database {location.database}; say where with --data-dir or --database-url")


async def require_newest(database: Database) -> None:
    """Raises Refused if the tables are of another version than this program's."""
    newest, revision = known_revisions()[0], await database.read(revision_of)
    if revision is None:
        raise Refused("the database has no tables of modelwire; name another, or start a server on it first")
    if revision != newest:
        await require_known(database)
        raise Refused(f"the database has tables of version {revision}, this program wants {newest}: run modelwire admin migrate")


async def require_known(database: Database) -> str | None:
    """The version of the tables. Raises Refused if it is newer than this program."""
    revision = await database.read(revision_of)
    if revision is not None and revision not in known_revisions():
        raise Refused(f"the database has tables of version {revision}, which is newer than this program; use a newer one")
    return revision


@contextmanager
def said_in_a_sentence() -> Iterator[None]:
    """Turns what can go wrong into a Stop."""
    try:
        yield
    except FORESEEN as error:
        raise _stop(error) from None
    except ExceptionGroup as group:
        first = group.exceptions[0]
        if isinstance(first, FORESEEN):
            raise _stop(first) from None
        raise


def _stop(error: Exception) -> Stop:
    if isinstance(error, StorageUnavailable):
        return Stop(error.message, code=ExitCode.UNREACHABLE)
    if isinstance(error, OSError):
        return Stop(f"{error.filename or 'a file'}: {error.strerror or error}")
    return Stop(str(error))
