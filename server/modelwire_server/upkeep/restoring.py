"""Brings a backup to where nothing is yet."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..artifacts.blobs.disk import file_digest
from ..artifacts.blobs.interface import BlobStore
from ..database.engine import Database, Transaction
from ..database.export import insert_rows, is_empty, table_names
from ..database.migrations import known_revisions, revision_of
from .copies import LIST, BackupFolder, Manifest, read_manifest
from .each import Report, for_each, silent
from .refusal import Refused

CHUNK = 1 << 20


@dataclass(slots=True)
class Restored:
    """What was restored, and the digests of content that the backup should have had."""

    manifest: Manifest
    blobs: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)


async def restore(source: Path, database: Database, blobs: BlobStore, report: Report = silent) -> Restored:
    """Stores all of a backup; `database` may have tables, but no rows, and they are brought to the newest version.

    Content comes first, so that a restore that was interrupted can be begun anew. Raises Refused, StorageFull, StorageUnavailable.
    """
    manifest = await asyncio.to_thread(read_manifest, source)
    folder = BackupFolder(source, manifest.rows_folder)
    await asyncio.to_thread(folder.check_rows, manifest)
    sizes = {row["digest"]: row["size"] for row in await asyncio.to_thread(lambda: list(folder.read_rows(LIST)))}
    await prepare(database, manifest)
    await require_nothing_else(blobs, set(sizes))
    restored = Restored(manifest, damaged=list(manifest.damaged))

    async def copy(digest: str) -> None:
        if await _store(blobs, folder.blob_path(digest), digest):
            restored.blobs += 1
            restored.bytes += sizes[digest]
        else:
            restored.damaged.append(digest)

    await for_each(sorted(sizes), copy, report, "content")
    await database.write(lambda tx: _insert_tables(tx, folder, manifest, report))
    await database.migrate()
    return restored


async def prepare(database: Database, manifest: Manifest) -> None:
    """Makes the tables as they were when the backup was made. Raises Refused where there are others, or rows in them."""
    if manifest.revision not in known_revisions():
        raise Refused(f"the backup was made by a newer version, modelwire {manifest.version}; install that or a later one")
    revision = await database.read(revision_of)
    if revision is None:
        await database.migrate(manifest.revision)
    elif not await database.read(is_empty):
        raise Refused("the database has data already; name an empty one")
    elif revision != manifest.revision:
        raise Refused(f"the database has tables of version {revision}, the backup {manifest.revision}; name a new database")


async def require_nothing_else(blobs: BlobStore, expected: set[str]) -> None:
    """Raises Refused if there is content that is not from the backup."""
    async for blob in blobs.entries():
        if blob.digest not in expected:
            raise Refused("the store of content has something else in it already; name an empty one")


async def _store(blobs: BlobStore, path: Path, digest: str) -> bool:
    """Stores a file's content if it has its digest; whether it has."""
    if not await asyncio.to_thread(_has_digest, path, digest):
        return False
    async with blobs.writer() as writer:
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                await writer.write(chunk)
        await writer.commit()
    return True


def _has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and file_digest(path) == digest


def _insert_tables(tx: Transaction, folder: BackupFolder, manifest: Manifest, report: Report) -> None:
    names = [name for name in table_names() if name in manifest.rows]
    for number, name in enumerate(names):
        report("tables", number, len(names))
        rows = folder.read_rows(name)
        insert_rows(tx, name, _without_leases(rows) if name == "jobs" else rows)
    report("tables", len(names), len(names))


def _without_leases(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Whoever ran the jobs does so no more: the first server that looks finds them lost."""
    for row in rows:
        yield {**row, "lease_until": None}
