"""Files that hold content."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO


async def opened(open_file: Callable[[], BinaryIO]) -> BinaryIO:
    """Opens a file in a thread. Whoever stops waiting for it leaves no open file."""
    opening = asyncio.ensure_future(asyncio.to_thread(open_file))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opening: "asyncio.Future[BinaryIO]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def chunks_of(file: BinaryIO, offset: int, chunk_size: int) -> AsyncIterator[bytes]:
    """The bytes of an open file from `offset`."""
    file.seek(offset)
    while chunk := await asyncio.to_thread(file.read, chunk_size):
        yield chunk


def seal(path: Path) -> None:
    """Makes a finished file durable and one that nobody changes any more. Raises OSError if it is a link."""
    # Through another name of the same file somebody could change it later.
    if path.lstat().st_nlink > 1:
        _replace_by_copy(path)
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchmod(handle, 0o444)
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace_by_copy(path: Path) -> None:
    """Makes a file that has other names one that has none."""
    copy = path.with_name(f"{path.name}.copy")
    shutil.copyfile(path, copy, follow_symlinks=False)
    copy.replace(path)


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def time_of(state: os.stat_result) -> datetime:
    return datetime.fromtimestamp(state.st_mtime, UTC)


def make_folder(folder: Path) -> None:
    """Makes a folder that stays after a crash."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes a rename durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
