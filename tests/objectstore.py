"""An S3-compatible server of the tests' own, on a free loopback port, that keeps everything in memory."""

import subprocess
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from free_ports import free_port

# Any key will do: it checks none.
_KEYS = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}


class ObjectStoreServer:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"

    def new_bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"test-{uuid.uuid4().hex}"
        self.request("PUT", f"/{name}")
        return name

    def url(self, place: str) -> str:
        """The URL of a bucket, or of a place in it such as `bucket/prefix`, with all that is needed to get there."""
        return f"s3://{place}?{urlencode({'endpoint': self.endpoint, **_KEYS})}"

    def request(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """Speaks to the server past any library."""
        headers = {"Content-Type": "application/xml"}
        request = urllib.request.Request(f"{self.endpoint}{path}", data, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content


@contextmanager
def object_store_server() -> Iterator[ObjectStoreServer]:
    """Starts a server and ends it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            server = ObjectStoreServer(port)
            wait_until_ready(process, server)
            yield server
        except AssertionError:
            log.seek(0)
            print(log.read().decode(errors="replace"))
            raise
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_until_ready(process: subprocess.Popen[bytes], server: ObjectStoreServer) -> None:
    for _ in range(300):
        try:
            server.request("GET", "/")
        except OSError:
            try:
                process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            break
        return
    raise AssertionError("the object store did not start")
