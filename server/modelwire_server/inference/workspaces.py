"""Workspaces on their way from the blob store to the process that works with them."""

import asyncio
import os
import shutil
from pathlib import Path

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.model import Blob
from ..artifacts.workspace import Workspace
from ..errors import ContentMissing
from ..execution.specs import part_name

# So many files are fetched at once.
FETCHED_AT_ONCE = 16


async def fetch_workspace(blobs: BlobStore, listed: Blob, folder: Path) -> tuple[Path, Path]:
    """Puts a workspace's list, and a folder with the content of its files by digest, into a folder below the store's scratch folder.
    What was fetched stays, whatever the store does. Raises ContentCorrupted, ContentMissing, StorageUnavailable."""
    path, parts = folder / "model.json", folder / "parts"
    await asyncio.to_thread(parts.mkdir)
    await _fetch(blobs, listed.digest, path)
    digests = {file.digest for file in Workspace.from_json(await asyncio.to_thread(path.read_bytes)).files}
    slots = asyncio.Semaphore(FETCHED_AT_ONCE)

    async def fetch(digest: str) -> None:
        async with slots:
            await _fetch(blobs, digest, parts / part_name(digest))

    try:
        async with asyncio.TaskGroup() as group:
            for digest in digests:
                group.create_task(fetch(digest))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return path, parts


async def _fetch(blobs: BlobStore, digest: str, target: Path) -> None:
    # A cache may give up a file between the two.
    for _ in range(3):
        path = await blobs.local_path(digest)
        try:
            return await asyncio.to_thread(_link, path, target)
        except FileNotFoundError:
            continue
    raise ContentMissing(f"stored content {digest} is missing", digest=digest)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:
        # Another file system, or more names than a file may have.
        shutil.copyfile(path, target)
