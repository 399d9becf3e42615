"""Content in a folder that several processes share."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from modelwire_server.artifacts.blobs.disk import opened
from modelwire_server.artifacts.blobs.files import FileBlobStore

OPEN_AND_SAY_WHERE = """
import asyncio, sys
from pathlib import Path
from modelwire_server.artifacts.blobs.files import FileBlobStore

async def main():
    blobs = FileBlobStore(Path(sys.argv[1]), max_bytes=1 << 20)
    await blobs.open()
    (blobs.scratch / "unfinished").write_bytes(b"x")
    print(blobs.scratch, flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


@contextmanager
def another_process(root: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has the store open, and its scratch folder."""
    command = [sys.executable, "-c", OPEN_AND_SAY_WHERE, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_scratch_folders_of_the_living_stay_and_those_of_the_dead_go(tmp_path: Path) -> None:
    async def opened_store() -> FileBlobStore:
        blobs = FileBlobStore(tmp_path, max_bytes=1 << 20)
        await blobs.open()
        return blobs

    with another_process(tmp_path) as (process, theirs):
        first = asyncio.run(opened_store())
        assert (theirs / "unfinished").exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        second = asyncio.run(opened_store())
        assert not theirs.exists()
        assert first.scratch.is_dir()
        assert second.scratch.is_dir()
        for blobs in (first, second):
            asyncio.run(blobs.close())
        assert list((tmp_path / "scratch").iterdir()) == []


def test_scratch_without_an_owner_is_removed(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    (scratch / "job").mkdir(parents=True)
    (scratch / "job" / "file").write_bytes(b"x")
    (scratch / "upload").write_bytes(b"x")
    blobs = FileBlobStore(tmp_path, max_bytes=1 << 20)
    asyncio.run(blobs.open())
    assert sorted(path.suffix for path in scratch.iterdir()) == ["", ".lock"]
    asyncio.run(blobs.close())


def test_many_processes_open_one_folder_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN_AND_SAY_WHERE, str(tmp_path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    try:
        folders = [Path(process.stdout.readline().strip()) for process in processes if process.stdout]
        assert len(set(folders)) == 4
        assert all((folder / "unfinished").exists() for folder in folders)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_changed_content_is_noticed(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FileBlobStore(tmp_path, max_bytes=1 << 20)
        await blobs.open()
        blob = await blobs.put(b"good")
        path = await blobs.local_path(blob.digest)
        path.chmod(0o600)
        path.write_bytes(b"evil")
        assert not await blobs.verify(blob.digest)
        await blobs.close()

    asyncio.run(main())


def test_a_link_is_not_adopted(tmp_path: Path) -> None:
    async def main() -> None:
        blobs = FileBlobStore(tmp_path / "blobs", max_bytes=1 << 20)
        await blobs.open()
        blob = await blobs.put(b"secret")
        secret = tmp_path / "secret"
        secret.write_bytes(b"another secret")
        link = blobs.scratch / "made"
        link.symlink_to(secret)
        with pytest.raises(OSError, match="symbolic"):
            await blobs.adopt(link, type(blob)("sha256:" + "1" * 64, 6))
        assert os.access(secret, os.W_OK)
        await blobs.close()

    asyncio.run(main())


def test_a_file_that_nobody_waits_for_any_more_is_closed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    begun, go_on, files = threading.Event(), threading.Event(), list[BinaryIO]()

    def open_slowly() -> BinaryIO:
        begun.set()
        go_on.wait()
        files.append((tmp_path / "file").open("rb"))
        return files[0]

    async def main() -> None:
        waiting = asyncio.create_task(opened(open_slowly))
        await asyncio.to_thread(begun.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        while not files or not files[0].closed:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)

    asyncio.run(main())
