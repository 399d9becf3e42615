"""Copies a service's data while it works."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..artifacts import store as artifact_store
from ..artifacts.blobs.disk import file_digest
from ..artifacts.blobs.files import FileBlobStore
from ..artifacts.blobs.interface import BlobStore
from ..artifacts.garbage import wanted_digests
from ..clock import now
from ..database.engine import Database, Transaction
from ..database.export import rows_of, table_names
from ..database.migrations import revision_of
from ..errors import ContentCorrupted
from .alone import PATIENCE_SECONDS, alone
from .copies import LIST, BackupFolder, Manifest, RowFile, sync_file
from .each import Report, for_each, silent


@dataclass(slots=True)
class Copied:
    """What became of the content: sizes by digest, what was lost already, and how much of it was not there from an earlier backup."""

    sizes: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    new_blobs: int = 0
    new_bytes: int = 0
    linked: int = 0

    def count_new(self, size: int, *, linked: bool) -> None:
        self.new_blobs += 1
        self.new_bytes += size
        self.linked += linked


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup that was made."""

    manifest: Manifest
    copied: Copied


async def back_up(
    database: Database, blobs: BlobStore, target: Path, *, version: str, may_link: bool = True, report: Report = silent
) -> BackedUp:
    """Copies one state of the database and all content that it refers to into a folder. Files are linked where that can be.

    Servers go on meanwhile, but nothing is deleted for good. Content that is lost already is listed in the manifest. Raises Refused,
    StorageUnavailable, OSError.
    """
    async with alone(database, patience=PATIENCE_SECONDS):
        folder = await asyncio.to_thread(BackupFolder.begin, target)
        state = await database.snapshot(lambda tx: _write_tables(tx, folder, report))
        wanted = sorted(await wanted_digests(state.references, blobs))
        copied = Copied()

        async def copy(digest: str) -> None:
            await _copy(blobs, digest, folder, copied, may_link=may_link)

        await for_each(wanted, copy, report, "content")
        listed = ({"digest": digest, "size": size} for digest, size in sorted(copied.sizes.items()))
        manifest = Manifest(
            made_at=now(),
            version=version,
            revision=state.revision,
            rows_folder=folder.rows.name,
            rows={**state.rows, LIST: await asyncio.to_thread(folder.write_rows, LIST, listed)},
            blobs=len(copied.sizes),
            bytes=sum(copied.sizes.values()),
            damaged=tuple(sorted(copied.damaged)),
        )
        await asyncio.to_thread(folder.finish, manifest, set(copied.sizes))
    return BackedUp(manifest, copied)


@dataclass(frozen=True, slots=True)
class _State:
    revision: str
    rows: Mapping[str, RowFile]
    references: artifact_store.References


def _write_tables(tx: Transaction, folder: BackupFolder, report: Report) -> _State:
    """Writes all rows of one state of the database."""
    names, written = table_names(), {}
    for number, name in enumerate(names):
        report("tables", number, len(names))
        written[name] = folder.write_rows(name, rows_of(tx, name))
    report("tables", len(names), len(names))
    return _State(revision_of(tx) or "", written, artifact_store.references(tx))


async def _copy(blobs: BlobStore, digest: str, folder: BackupFolder, copied: Copied, *, may_link: bool) -> None:
    """Brings content into the folder, unless an earlier backup did; what is there by name is complete and was verified."""
    target = folder.blob_path(digest)
    if not target.exists():
        unfinished = folder.rows / target.name
        try:
            linked = may_link and await _link(blobs, digest, unfinished)
            if not linked:
                await _stream(blobs, digest, unfinished)
            if await asyncio.to_thread(file_digest, unfinished) != digest:
                raise ContentCorrupted(f"the content {digest} is damaged", digest=digest)
            await asyncio.to_thread(folder.put, unfinished, digest)
        except ContentCorrupted:
            unfinished.unlink(missing_ok=True)
            copied.damaged.append(digest)
            return
        copied.count_new(target.stat().st_size, linked=linked)
    copied.sizes[digest] = target.stat().st_size


async def _link(blobs: BlobStore, digest: str, path: Path) -> bool:
    """Gives the stored file a second name, which costs no space; whether that could be done."""
    if not isinstance(blobs, FileBlobStore):
        return False
    source = await blobs.local_path(digest)
    # Not on another file system, and not on one without links.
    with contextlib.suppress(OSError):
        await asyncio.to_thread(path.hardlink_to, source)
        return True
    return False


async def _stream(blobs: BlobStore, digest: str, path: Path) -> None:
    with path.open("xb") as file:
        async for chunk in blobs.read(digest):
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(sync_file, file)
