"""A frame that arrives in pieces: an Arrow IPC stream from a stranger, read record batch by record batch as its bytes come.

It is held against the same limits as a frame that comes as a whole, and validated as completely (see `frames`). Bytes may be cut
anywhere. A batch that lies within one chunk is a view of it; one that does not is put together once.
"""

from collections import deque
from collections.abc import Generator, Iterator

import pyarrow as pa

from .arrow_messages import (
    DICTIONARY,
    RECORDS,
    SCHEMA,
    AboveLimit,
    BrokenStream,
    MessageHead,
    announced,
    check_metadata,
    continued_length,
    metadata_length,
)
from .frames import EMPTY, MIB, FrameLimits, FrameTally, check_schema, told_as_of

Bytes = bytes | bytearray | memoryview

# Arrow and numpy want numbers at addresses of which this is a divisor; elsewhere they are several times slower than a copy.
ALIGNMENT = 8
# So much is predicted at once, up to twice as much. Each piece goes to a thread and back, and takes turns with the event loop, which costs
# more than what fits into the caches of a core would save, and the more, the more Python a prediction takes. And a piece is in memory
# several times, see benchmarks/README.md.
LEAST_PIECE, LEAST_COMPILED_PIECE = 3 * MIB, 2 * MIB
# Slices with fewer rows cost more for each than they save.
LEAST_ROWS = 1024


class FrameStream:
    """Reads one frame. Both `feed` and `batches` raise InvalidFrame and FrameTooLarge, which name `field`; then all is over."""

    def __init__(self, limits: FrameLimits, field: str) -> None:
        self._limits = limits
        self._field = field
        self._tally = FrameTally(limits)
        self._cutter = _Cutter(self._parse())
        self._source = _Source()
        self._reader: pa.RecordBatchStreamReader | None = None
        self._waiting = 0
        self._begun = False
        self.size = 0
        # Whether batches wait whose decoding takes longer than to look at them.
        self.is_costly = False

    def tighten(self, limits: FrameLimits) -> None:
        """From now on the frame is held against other limits."""
        self._limits = limits
        self._tally.limits = limits

    @property
    def schema(self) -> pa.Schema | None:
        """The columns, once they are known."""
        return None if self._reader is None else self._reader.schema

    def feed(self, chunk: Bytes) -> int:
        """Takes the next bytes and returns how many batches are there to be read."""
        with told_as_of(self._field):
            self.size += len(chunk)
            if self.size > self._limits.max_bytes:
                limit = self._limits.max_bytes
                raise AboveLimit(f"the frame takes more than {limit:,} bytes, which is the limit", limit)
            self._cutter.feed(memoryview(chunk))
            return self._waiting

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches that have arrived and were not read before, each validated."""
        with told_as_of(self._field):
            while self._waiting:
                assert self._reader is not None
                batch = self._reader.read_next_batch()
                self._waiting -= 1
                self._tally.decoded(batch)
                yield batch
            self.is_costly = False

    def finish(self) -> pa.Schema:
        """The schema, when all has been fed and read: the stream must be at an end."""
        with told_as_of(self._field):
            if self._reader is None or self._begun or self._cutter.holds:
                raise BrokenStream("ends in the middle of a message" if self.size else EMPTY)
            # Dictionaries after which no records came are looked at too.
            for _ in self._reader:
                raise BrokenStream("holds a message that was not announced")
            self.close()
            return self._reader.schema

    def close(self) -> None:
        """Lets go of what has arrived. The parser and the stream know each other, so that they would not go by themselves."""
        self._cutter.close()
        self._source.close()

    def _parse(self) -> Generator[int, Bytes, None]:
        """Says how many bytes it needs next and is sent as many, one message after the other."""
        while True:
            self._begun = False
            prefix = bytes((yield 4))
            self._begun = True
            length = metadata_length(prefix)
            if length is None:
                prefix += yield 4
                length = continued_length(prefix[4:])
            elif length > self._limits.max_metadata_bytes:
                raise BrokenStream("has bytes where a message should begin")
            if length == 0:
                break
            check_metadata(length, self._limits.of_messages)
            metadata = bytes((yield length))
            head = MessageHead(metadata, self._limits.of_messages)
            # Not in a variable: it would live until the next one is there.
            self._take(prefix, metadata, head, pa.py_buffer((yield head.body_length) if head.body_length else b""))
        self._begun = False
        yield 1
        raise BrokenStream("bytes follow after its end")

    def _take(self, prefix: bytes, metadata: bytes, head: MessageHead, body: pa.Buffer) -> None:
        message = announced(head, pa.BufferReader(body), 0, self._limits.of_messages)
        self._tally.announced(message)
        self._source.add(prefix, metadata, _aligned(body))
        self.is_costly |= head.is_compressed or message.kind == DICTIONARY
        if message.kind == SCHEMA:
            self._open()
        elif self._reader is None:
            raise BrokenStream("does not begin with a schema")
        self._waiting += message.kind == RECORDS

    def _open(self) -> None:
        if self._reader is not None:
            raise BrokenStream("has a second schema")
        file = pa.PythonFile(self._source, mode="r")
        self._reader = pa.ipc.open_stream(file, options=pa.ipc.IpcReadOptions(use_threads=False))
        check_schema(self._reader.schema, self._limits)


def _aligned(body: pa.Buffer) -> pa.Buffer:
    return pa.py_buffer(body.to_pybytes()) if body.address % ALIGNMENT else body


class _Cutter:
    """Cuts what it is fed into as many bytes as a parser asks for, at least one. No byte is copied more than once."""

    def __init__(self, parser: Generator[int, Bytes, None]) -> None:
        self._parser = parser
        self._wanted = next(parser)
        self._held = bytearray()

    def close(self) -> None:
        self._parser.close()
        self._held = bytearray()

    @property
    def holds(self) -> bool:
        """Whether bytes are here that are not enough for the parser."""
        return bool(self._held)

    def feed(self, chunk: memoryview) -> None:
        part: Bytes
        while len(chunk):
            missing = self._wanted - len(self._held)
            if self._held or len(chunk) < missing:
                self._held += chunk[:missing]
                if len(chunk) < missing:
                    return
                part, self._held = self._held, bytearray()
            else:
                part = chunk[:missing]
            chunk = chunk[missing:]
            self._wanted = self._parser.send(part)


class _Source:
    """The file that Arrow's reader reads: messages that are there as a whole."""

    closed = False

    def __init__(self) -> None:
        self._parts: deque[memoryview] = deque()

    def add(self, *parts: bytes | pa.Buffer) -> None:
        self._parts.extend(memoryview(part) for part in parts if len(part))

    def read(self, size: int = -1) -> memoryview | bytes:
        """What Arrow's reader calls: the next bytes, a view of them where it can be, fewer only at the end."""
        if not self._parts or size == 0:
            return b""
        first = self._parts.popleft()
        if len(first) == size:
            return first
        if len(first) > size > 0:
            self._parts.appendleft(first[size:])
            return first[:size]
        return b"".join([first, self.read(size - len(first) if size > 0 else -1)])

    def close(self) -> None:
        self._parts.clear()


class Pieces:
    """The rows of a frame in tables of `least` bytes to twice as many, whatever its batches are: small ones are put side by side, large
    ones sliced. Nothing is copied."""

    def __init__(self, least: int = LEAST_PIECE) -> None:
        self._least = least
        self._held: list[pa.RecordBatch] = []
        self._size = 0
        self._is_new = True

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        """Takes a batch and gives what is large enough."""
        for part, size in _slices(batch, self._least):
            self._held.append(part)
            self._size += size
            if self._size >= self._least:
                yield self._take()

    def rest(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """What is left; a table without rows if there never was any."""
        if self._held or self._is_new:
            yield self._take(schema)

    def _take(self, schema: pa.Schema | None = None) -> pa.Table:
        held, self._held, self._size, self._is_new = self._held, [], 0, False
        return pa.Table.from_batches(held, schema)


def _slices(batch: pa.RecordBatch, least: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The batch or slices of it, each with the bytes that it takes."""
    size = batch.nbytes
    if size <= 2 * least:
        yield batch, size
        return
    rows = max(LEAST_ROWS, batch.num_rows * least * 3 // 2 // size)
    for start in range(0, batch.num_rows, rows):
        part = batch.slice(start, rows)
        yield part, part.nbytes
