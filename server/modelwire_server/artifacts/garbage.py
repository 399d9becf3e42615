"""Content that nothing refers to any more."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from ..clock import now
from ..database.engine import Database
from ..errors import ContentCorrupted
from . import store
from .blobs.interface import BlobStore, StoredBlob
from .workspace import Workspace

log = structlog.get_logger(__name__)

# Content comes before the row that refers to it; this is much longer than that takes.
GRACE = timedelta(hours=1)
# So many lists of files are read at once.
READERS = 16


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did: so many blobs went into the trash, were deleted for good, were taken out of the trash again; `bytes`
    were freed for good."""

    discarded: int = 0
    purged: int = 0
    restored: int = 0
    bytes: int = 0


async def collect(database: Database, blobs: BlobStore, *, grace: timedelta = GRACE, dry_run: bool = False) -> Collected:
    """Discards content that nothing refers to, and purges what stayed in the trash, both once they are older than `grace`; a
    `dry_run` only counts.

    May run while content comes in, and on several servers: `grace` must be longer than it takes from storing content to storing
    the row that refers to it. Raises StorageUnavailable.
    """
    old = now() - grace
    # References are read last: what is stored and not referred to by then was not listed here, or is younger than `grace`.
    discarded = [blob async for blob in blobs.trash()]
    stored = [blob async for blob in blobs.entries() if blob.modified_at < old]
    wanted = await wanted_digests(await database.read(store.references), blobs)
    unwanted = [blob for blob in stored if blob.digest not in wanted]
    back = [blob for blob in discarded if blob.digest in wanted]
    gone = [blob for blob in discarded if blob.digest not in wanted and blob.modified_at < old]
    if dry_run:
        return Collected(len(unwanted), len(gone), len(back), sum(blob.size for blob in gone))
    for blob in unwanted:
        await blobs.discard(blob.digest)
    restored = await _restore(blobs, back)
    purged = [blob for blob in gone if await blobs.purge(blob)]
    # A store that cannot move may have left a copy in the trash.
    for blob in back:
        if blob.modified_at < old:
            await blobs.purge(blob)
    return Collected(len(unwanted), len(purged), restored, sum(blob.size for blob in purged))


async def wanted_digests(references: store.References, blobs: BlobStore) -> set[str]:
    """The digests of all content that something refers to, through a workspace's list of files too."""
    wanted = set(references.digests)
    slots = asyncio.Semaphore(READERS)

    async def add_files(digest: str) -> None:
        async with slots:
            wanted.update(await files_of(blobs, digest))

    async with asyncio.TaskGroup() as group:
        for digest in references.workspaces:
            group.create_task(add_files(digest))
    return wanted


async def files_of(blobs: BlobStore, digest: str) -> Iterable[str]:
    """The digests of a workspace's files. None if the content is something else, or a damaged list: then nobody can find them."""
    try:
        workspace = await read_workspace(blobs, digest)
    except ContentCorrupted as error:
        log.warning("the list of a workspace's files cannot be read", digest=digest, error=error.message)
        return []
    return [] if workspace is None else [file.digest for file in workspace.files]


async def read_workspace(blobs: BlobStore, digest: str) -> Workspace | None:
    """The workspace, if the content is one. Raises ContentCorrupted."""
    document = bytearray()
    async for chunk in blobs.read(digest):
        document += chunk
        if not document.startswith(b"{"):
            return None
    return Workspace.from_json(bytes(document))


async def _restore(blobs: BlobStore, trashed: Iterable[StoredBlob]) -> int:
    return sum([await blobs.restore(blob.digest) for blob in trashed])
