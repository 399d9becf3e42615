"""Content on its way to the server."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, TypeAlias

from modelwire.chunks import MIB, encode_chunks
from modelwire.v1 import artifact_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelwire.frames import FrameSource

# A path, the bytes themselves, or a file open for reading bytes.
UploadLike: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]


class UploadSource:
    """Bytes to be stored, in chunks; their digest is known ahead if they can be read twice, and in any case once they are sent."""

    def __init__(self, *, replayable: bool) -> None:
        self.replayable = replayable
        self.digest_sent = ""

    def chunks(self) -> Iterator[bytes]:
        """The content."""
        raise NotImplementedError

    def digest_ahead(self) -> str:
        """The digest, or nothing if it cannot be known before the content is sent."""
        return _digest(self.chunks())

    def requests(self, header: artifact_service_pb2.UploadHeader) -> Iterator[artifact_service_pb2.UploadArtifactRequest]:
        """The messages that store the content."""
        digest = hashlib.sha256()
        yield artifact_service_pb2.UploadArtifactRequest(header=header)
        for chunk in self.chunks():
            digest.update(chunk)
            yield artifact_service_pb2.UploadArtifactRequest(chunk=chunk)
        self.digest_sent = f"sha256:{digest.hexdigest()}"


class FileUpload(UploadSource):
    """The rest of an open file; can be read twice if the file can be wound back."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(replayable=file.seekable())
        self._file = file
        self._start = file.tell() if self.replayable else 0

    def chunks(self) -> Iterator[bytes]:
        if self.replayable:
            self._file.seek(self._start)
        while chunk := self._file.read(MIB):
            yield chunk

    def digest_ahead(self) -> str:
        return super().digest_ahead() if self.replayable else ""


class FrameUpload(UploadSource):
    """A frame, as an Arrow IPC stream. Encoding it twice for the digest's sake would cost more than it helps."""

    def __init__(self, source: FrameSource) -> None:
        super().__init__(replayable=source.replayable)
        self._source = source

    def chunks(self) -> Iterator[bytes]:
        return encode_chunks(self._source)

    def digest_ahead(self) -> str:
        return ""


@contextmanager
def open_upload(content: UploadLike) -> Iterator[FileUpload]:
    """The content of a path, of bytes or of an open file. Only a file that is opened here is closed."""
    if isinstance(content, bytes | bytearray | memoryview):
        yield FileUpload(BytesIO(content))
    elif isinstance(content, str | os.PathLike):
        with Path(content).open("rb") as file:
            yield FileUpload(file)
    else:
        yield FileUpload(content)


def _digest(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


class NewFile:
    """A file that appears under its name only when it is complete.

    A folder as `path` means: in that folder, under the name that `commit` is given.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        folder = self._path if self._path.is_dir() else self._path.parent
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
        self._temporary = Path(name)
        self._file: Any = os.fdopen(descriptor, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """The next bytes."""
        self._file.write(chunk)

    def commit(self, name: str) -> Path:
        """Gives the file its name; answers with its path."""
        # The server's word for a name must not lead out of the folder.
        path = self._path / Path(name).name if self._path.is_dir() else self._path
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.chmod(0o666 & ~_umask())
        self._temporary.replace(path)
        return path


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
