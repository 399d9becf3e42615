"""Arrow IPC streams, cut into chunks and put together again, never held in memory as a whole on their way out."""

from __future__ import annotations

import queue
import threading
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

from modelwire.errors import DataLoss

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from modelwire.frames import FrameSource

Slicable = TypeVar("Slicable", bytes, memoryview)

MIB = 1024 * 1024
# Up to this size a request is one message.
SMALL = MIB
# A record batch is encoded when this much is there; it ends a chunk.
BATCH_BYTES = 3 * MIB // 2
# What is larger is cut into plain slices.
CHUNK_BYTES = 2 * MIB


Buffers = list[Any]


class _Sink:
    """A file that keeps what the Arrow writer writes until it is taken. What it writes are the buffers of the frame itself."""

    closed = False

    def __init__(self) -> None:
        self._parts: Buffers = []
        self.size = 0

    def write(self, data: Any) -> int:
        self._parts.append(data)
        self.size += len(data)
        return len(data)

    def take(self) -> Buffers:
        taken, self._parts, self.size = self._parts, [], 0
        return taken

    def flush(self) -> None: ...

    def close(self) -> None: ...


def encode(source: FrameSource) -> bytes:
    """The whole Arrow IPC stream of a small frame, as one record batch."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, source.schema, options=_write_options()) as writer:
        for batch in _join(list(source.batches())):
            writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@cache
def _write_options() -> Any:
    """Without them Arrow looks into the environment each time."""
    import pyarrow as pa

    return pa.ipc.IpcWriteOptions()


def encode_chunks(source: FrameSource) -> Iterator[bytes]:
    """The Arrow IPC stream in chunks of 1 to 2 MiB that end with a record batch where they can."""
    return (b"".join(buffers) for buffers in encode_buffers(source))


def encode_buffers(source: FrameSource) -> Iterator[Buffers]:
    """The same chunks as lists of buffers, so that nothing is copied before they are put together."""
    import pyarrow as pa

    sink = _Sink()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), source.schema) as writer:
        for batch in cut_batches(source.batches()):
            writer.write_batch(batch)
            if sink.size >= MIB:
                yield from _chunks(sink)
    yield from _chunks(sink)


def _chunks(sink: _Sink) -> Iterator[Buffers]:
    if sink.size <= CHUNK_BYTES:
        yield sink.take()
    else:
        yield from ([part] for part in slices(memoryview(b"".join(sink.take()))))


def cut_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of about 1.5 MiB: large ones are cut, small ones joined."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        for piece in _cut(batch):
            waiting.append(piece)
            size += piece.nbytes
            if size >= MIB:
                yield from _join(waiting)
                waiting, size = [], 0
    yield from _join(waiting)


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    rows = max(1, batch.num_rows * BATCH_BYTES // max(1, batch.nbytes))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _join(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    if len(batches) > 1:
        yield from pa.Table.from_batches(batches).combine_chunks().to_batches()
    else:
        yield from batches


def slices(data: Slicable, size: int = CHUNK_BYTES) -> Iterator[Slicable]:
    """Slices of at most `size` bytes; `data` itself when it is small enough."""
    if len(data) <= size:
        yield data
        return
    for start in range(0, len(data), size):
        yield data[start : start + size]


def decode(data: bytes) -> pa.Table:
    """The table of a whole Arrow IPC stream."""
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(data).read_all()
    except pa.ArrowException as error:
        raise DataLoss(f"the frame that was received cannot be read: {error}") from None


class ReceivedFrame:
    """A frame whose chunks are fed one after the other. Where a chunk ends with a record batch the table is a view of it."""

    closed = False

    def __init__(self) -> None:
        self._chunks: deque[memoryview] = deque()

    def feed(self, chunk: bytes | memoryview) -> None:
        """The next bytes of the stream."""
        if chunk:
            self._chunks.append(memoryview(chunk))

    def result(self) -> pa.Table:
        """The table, once all chunks are fed. Raises DataLoss if they are no frame."""
        import pyarrow as pa

        try:
            with pa.PythonFile(self, mode="r") as file:
                return pa.ipc.open_stream(file).read_all()
        except (pa.ArrowException, OSError) as error:
            raise DataLoss(f"the frame that was received cannot be read: {error}") from None

    def read(self, size: int = -1) -> bytes | memoryview:
        """What the Arrow reader calls: the next `size` bytes, fewer only at the end."""
        parts: list[memoryview] = []
        while size > 0 and self._chunks:
            chunk = self._chunks.popleft()
            parts.append(chunk[:size])
            if len(chunk) > size:
                self._chunks.appendleft(chunk[size:])
            size -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None: ...


class FrameAssembler:
    """Reads a frame while its chunks arrive, in a thread of its own.

    Use as a context manager: `feed` each chunk, then take `result`.
    """

    closed = False

    def __init__(self) -> None:
        self._chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._current = memoryview(b"")
        self._table: pa.Table | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read_all, name="modelwire-frame", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the stream."""
        if chunk:
            self._chunks.put(chunk)

    def result(self) -> pa.Table:
        """The table, once all chunks are fed. Raises DataLoss if they are no frame."""
        self._end()
        if self._error is not None:
            raise DataLoss(f"the frame that was received cannot be read: {self._error}") from None
        return self._table

    def _end(self) -> None:
        self._chunks.put(b"")
        self._thread.join()

    def _read_all(self) -> None:
        import pyarrow as pa

        try:
            with pa.PythonFile(self, mode="r") as file:
                self._table = pa.ipc.open_stream(file).read_all()
        except (pa.ArrowException, OSError) as error:
            self._error = error

    def read(self, size: int = -1) -> bytes:
        """What the Arrow reader calls: the next `size` bytes, fewer only at the end."""
        parts: list[memoryview] = []
        missing = size
        while missing > 0 and self._more():
            part, self._current = self._current[:missing], self._current[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _more(self) -> bool:
        if not self._current:
            self._current = memoryview(self._chunks.get())
        if not self._current:
            self._chunks.put(b"")  # the end stays the end
        return bool(self._current)

    def close(self) -> None: ...
