"""Content in a bucket."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import pytest

from modelwire_server.artifacts.blobs.buckets import open_bucket
from modelwire_server.artifacts.blobs.interface import BlobStore, Usage
from modelwire_server.artifacts.blobs.objects import PART, ObjectBlobStore
from modelwire_server.artifacts.blobs.opening import open_blob_store
from modelwire_server.errors import ContentCorrupted, StartError, StorageFull, StorageUnavailable

MAX_BYTES = 1 << 26
CONTENT = b"the content"

# Stores 20 MiB, which takes several parts.
PUT = """
import asyncio, sys
from pathlib import Path
from modelwire_server.artifacts.blobs.opening import open_blob_store

async def main():
    blobs = open_blob_store(sys.argv[1], Path(sys.argv[2]), max_bytes=1 << 26, cache_bytes=1 << 26)
    await blobs.open()
    await blobs.put(bytes(20 << 20))

asyncio.run(main())
"""


def store_at(url: str, folder: Path, cache_bytes: int = MAX_BYTES) -> BlobStore:
    return open_blob_store(url, folder, max_bytes=MAX_BYTES, cache_bytes=cache_bytes)


async def read(blobs: BlobStore, digest: str) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(digest)])


class Answering(BaseHTTPRequestHandler):
    """Answers everything with one status."""

    status = 200

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The URL of a bucket whose server answers everything with this status."""
    handler = type("Handler", (Answering,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"s3://bucket/x?endpoint=http://127.0.0.1:{server.server_port}&access_key_id=a&secret_access_key=b"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://bucket/x", "ftp:// is not known; a folder is, and so are s3://, gs://, az://"),
        ("s3://bucket/x?regoin=here", "'regoin' is not valid"),
        ("az://container/x", "az://container/x cannot be opened: .*Account must be specified"),
    ],
)
def test_urls_that_cannot_be(url: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=sentence):
        store_at(url, tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"content cannot be stored in .*file/blobs: Not a directory"):
        asyncio.run(store_at(f"file://{tmp_path}/file/blobs", tmp_path).open())


def test_a_bucket_that_is_not_there(object_store: Any, tmp_path: Path) -> None:
    url = object_store.url("no-such-bucket/x")
    with pytest.raises(StartError, match="there is no bucket for s3://no-such-bucket/x; create it first"):
        asyncio.run(store_at(url, tmp_path).open())


def test_a_bucket_that_refuses_access(tmp_path: Path) -> None:
    with answering(403) as url, pytest.raises(StartError, match="s3://bucket/x refuses access; its keys must allow to"):
        asyncio.run(store_at(url, tmp_path).open())


def test_secrets_are_not_told(tmp_path: Path) -> None:
    url = "s3://bucket/x?endpoint=http://127.0.0.1:9&access_key_id=a&secret_access_key=hidden"
    with pytest.raises(StorageUnavailable) as caught:
        asyncio.run(store_at(url, tmp_path).open())
    assert "does not answer" in caught.value.message
    assert "hidden" not in caught.value.message


CALLS: dict[str, Callable[[BlobStore, str], Any]] = {
    "put": lambda blobs, digest: blobs.put(b"more"),
    "read": read,
    "path": lambda blobs, digest: blobs.local_path(digest),
    "verify": lambda blobs, digest: blobs.verify(digest),
    "usage": lambda blobs, digest: blobs.usage(),
    "discard": lambda blobs, digest: blobs.discard(digest),
    "restore": lambda blobs, digest: blobs.restore(digest),
}


@pytest.mark.parametrize(
    ("call", "status", "error"), [*((call, 403, StorageUnavailable) for call in CALLS), ("put", 507, StorageFull)]
)
def test_trouble_of_the_store_is_told(call: str, status: int, error: type[Exception], tmp_path: Path) -> None:
    async def main() -> None:
        with answering(status) as url:
            # Not open()ed, which would not succeed.
            blobs = store_at(url, tmp_path)
            blobs.scratch.mkdir(parents=True)
            with pytest.raises(error):
                await CALLS[call](blobs, "sha256:" + "0" * 64)

    asyncio.run(main())


def test_servers_share_a_bucket(object_store_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        here, there = store_at(object_store_url, tmp_path / "a"), store_at(object_store_url, tmp_path / "b")
        await here.open()
        await there.open()
        blob = await here.put(CONTENT)
        assert await read(there, blob.digest) == CONTENT
        assert (await there.local_path(blob.digest)).read_bytes() == CONTENT
        await there.discard(blob.digest)
        assert await there.usage() == Usage(0, 0)
        assert await here.put(CONTENT) == blob
        assert await there.usage() == Usage(1, len(CONTENT))
        for blobs in (here, there):
            await blobs.close()
            assert not blobs.scratch.exists()

    asyncio.run(main())


def test_what_is_there_is_not_sent_again(object_store: Any, object_store_url: str, tmp_path: Path) -> None:
    content = os.urandom(1 << 20)

    async def main() -> None:
        blobs = store_at(object_store_url, tmp_path)
        await blobs.open()
        await blobs.put(content)
        [before] = [blob async for blob in blobs.entries()]
        # Versions tell how often an object was stored.
        bucket = urlsplit(object_store_url).netloc
        versions = object_store.request("GET", f"/{bucket}?versions").count(b"<Version>")
        await blobs.put(content)
        assert object_store.request("GET", f"/{bucket}?versions").count(b"<Version>") == versions
        assert [blob async for blob in blobs.entries()] == [before]

    enable = b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>'
    object_store.request("PUT", f"/{urlsplit(object_store_url).netloc}?versioning", enable)
    asyncio.run(main())


def test_damaged_objects_are_noticed(object_store_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        good, elsewhere = store_at(object_store_url, tmp_path / "a"), store_at(object_store_url, tmp_path / "b")
        await good.open()
        await elsewhere.open()
        blob = await good.put(CONTENT)
        hexadecimal = blob.digest.removeprefix("sha256:")
        await open_bucket(object_store_url).put_async(f"sha256/{hexadecimal[:2]}/{hexadecimal[2:]}", b"the k0ntent")
        for look in (read(elsewhere, blob.digest), elsewhere.local_path(blob.digest)):
            with pytest.raises(ContentCorrupted, match="is damaged"):
                await look
        for blobs in (good, elsewhere):
            assert not await blobs.verify(blob.digest)
        assert not any(elsewhere.scratch.iterdir())

    asyncio.run(main())


def test_copies_of_an_earlier_process_are_used_if_they_are_good(object_store: Any, tmp_path: Path) -> None:
    url = object_store.url(f"{object_store.new_bucket()}/x")

    async def main() -> None:
        blobs = store_at(url, tmp_path)
        await blobs.open()
        good, bad, gone = [await blobs.put(content) for content in (b"good", b"bad", b"gone")]
        for blob, content in ((good, b"good"), (bad, b"BAD")):
            path = await blobs.local_path(blob.digest)
            path.chmod(0o600)
            path.write_bytes(content)
        await blobs.close()

        again = store_at(url, tmp_path)
        await again.open()
        inode = path_of(again, good.digest).stat().st_ino
        path_of(again, gone.digest).unlink()
        for blob, content in ((good, b"good"), (bad, b"bad"), (gone, b"gone")):
            assert (await again.local_path(blob.digest)).read_bytes() == content
        assert path_of(again, good.digest).stat().st_ino == inode

    def path_of(blobs: BlobStore, digest: str) -> Path:
        return tmp_path / "blob-cache" / "sha256" / digest[7:9] / digest[9:]

    asyncio.run(main())


def test_many_ask_for_content_that_is_fetched_once(object_store_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        here, there = store_at(object_store_url, tmp_path / "a"), store_at(object_store_url, tmp_path / "b")
        await here.open()
        await there.open()
        blob = await here.put(os.urandom(3 << 20))
        paths = await asyncio.gather(*[there.local_path(blob.digest) for _ in range(20)])
        assert len({(path, path.stat().st_ino) for path in paths}) == 1
        assert not any(there.scratch.iterdir())

    asyncio.run(main())


def test_content_that_the_store_does_not_copy_by_itself(object_store_url: str, tmp_path: Path) -> None:
    async def main() -> None:
        blobs = ObjectBlobStore(
            open_bucket(object_store_url), "place", tmp_path, max_bytes=MAX_BYTES, cache_bytes=MAX_BYTES, largest_copy=1000
        )
        await blobs.open()
        content = os.urandom(PART + 1)
        blob = await blobs.put(content)
        await blobs.discard(blob.digest)
        assert [entry async for entry in blobs.entries()] == []
        assert [entry.size async for entry in blobs.trash()] == [len(content)]
        assert await read(blobs, blob.digest) == content

    asyncio.run(main())


class Stalling:
    """A way to a server, on which every connection stalls after so many bytes."""

    def __init__(self, endpoint: str, after: int) -> None:
        target = urlsplit(endpoint)
        self._target = str(target.hostname), int(target.port or 0)
        self._after = after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.stalled = threading.Event()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                self._start(self._forward, client, server, self._after)
                self._start(self._forward, server, client, None)

    def _forward(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        sent = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sent += len(data)
                if limit is not None and sent > limit:
                    self.stalled.set()
                    return
                sink.sendall(data)


def test_an_upload_that_is_killed_leaves_nothing_to_be_seen(object_store: Any, object_store_url: str, tmp_path: Path) -> None:
    with Stalling(object_store.endpoint, after=5 << 20) as way:
        url = object_store_url.replace(quote(object_store.endpoint, safe=""), way.endpoint)
        with subprocess.Popen([sys.executable, "-c", PUT, url, str(tmp_path / "a")]) as process:
            assert way.stalled.wait(60)
            process.send_signal(signal.SIGKILL)

    async def main() -> None:
        blobs = store_at(object_store_url, tmp_path / "a")
        await blobs.open()
        assert [blob async for blob in blobs.entries()] == []
        assert [path for path in blobs.scratch.parent.iterdir() if path.suffix != ".lock"] == [blobs.scratch]
        blob = await blobs.put(bytes(20 << 20))
        assert await blobs.verify(blob.digest)

    asyncio.run(main())
