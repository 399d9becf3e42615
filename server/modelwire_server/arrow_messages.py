"""Reads what an Arrow IPC stream announces about itself, before anything of it is decoded.

Arrow allocates what a stream announces: the size of a body, the uncompressed size of each LZ4 or ZSTD buffer. A few hundred
bytes can so ask for terabytes. The walk here reads only the framing and the few numbers that matter, with every offset checked,
and costs a few bytes of memory whatever the stream says.

The metadata of a message is a flatbuffer: tables whose fields are found through a table of offsets, all little-endian. The
slots are those of Arrow's Message.fbs.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

SCHEMA, DICTIONARY, RECORDS = 1, 2, 3
_CONTINUATION = 0xFFFFFFFF
_NOT_COMPRESSED = -1

_U16, _I32, _U32, _I64 = (struct.Struct(code) for code in ("<H", "<i", "<I", "<q"))


class BrokenStream(ValueError):
    """The stream is not a well-formed sequence of Arrow messages."""


class AboveLimit(ValueError):
    """The stream announces more than is allowed; `limit` is what is allowed."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """Sizes are in bytes. `batch` limits the body of one message, before and after decompression."""

    metadata: int
    batch: int
    buffers: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """What one message says: its kind, its rows, the size of its buffers once decompressed; for dictionaries their id."""

    kind: int
    rows: int = 0
    size: int = 0
    dictionary: int = 0
    is_delta: bool = False


def announcements(source: pa.NativeFile, limits: MessageLimits) -> Iterator[Announcement]:
    """All messages of the stream, in order. Raises BrokenStream and AboveLimit."""
    end, at = source.size(), 0
    while at < end:
        length, at = _metadata_length(source, at)
        if length == 0:
            break
        if not 0 < length <= end - at:
            raise BrokenStream("ends in the middle of a message")
        check_metadata(length, limits)
        message = MessageHead(source.read_at(length, at), limits)
        at += length
        if message.body_length > end - at:
            raise BrokenStream("ends in the middle of a message")
        yield announced(message, source, at, limits)
        at += message.body_length
    if at < end:
        raise BrokenStream(f"{end - at} bytes follow after its end")


def _metadata_length(source: pa.NativeFile, at: int) -> tuple[int, int]:
    """The length of the next metadata, and where they begin. Streams from before Arrow 0.15 have no continuation mark."""
    length = metadata_length(source.read_at(4, at))
    if length is not None:
        return length, at + 4
    return continued_length(source.read_at(4, at + 4)), at + 8


def metadata_length(prefix: bytes | memoryview) -> int | None:
    """The length of the metadata, from the first four bytes of a message; None if four more tell it. A length of 0 ends the stream."""
    length = _number(_U32, prefix, 0)
    return None if length == _CONTINUATION else length


def continued_length(prefix: bytes | memoryview) -> int:
    """The length of the metadata, from the four bytes after a continuation mark."""
    return _number(_I32, prefix, 0)


def check_metadata(length: int, limits: MessageLimits) -> None:
    """Raises BrokenStream and AboveLimit."""
    if length < 0:
        raise BrokenStream("has a message whose metadata are damaged")
    _check("the metadata of a message", length, limits.metadata)


def announced(message: "MessageHead", source: pa.NativeFile, body: int, limits: MessageLimits) -> Announcement:
    """What a message says whose body begins at `body` in the source. Raises BrokenStream and AboveLimit."""
    header = message.header
    if message.kind == SCHEMA:
        return Announcement(SCHEMA)
    if message.kind == RECORDS:
        return Announcement(RECORDS, _rows(header), _body_size(header, source, body, message.body_length, limits))
    if message.kind == DICTIONARY:
        records = header.table(1)
        size = _body_size(records, source, body, message.body_length, limits)
        return Announcement(DICTIONARY, _rows(records), size, header.number(_I64, 0), bool(header.byte(2)))
    raise BrokenStream("holds a message that is neither a schema nor a batch")


def _rows(records: "_Table") -> int:
    rows = records.number(_I64, 0)
    if rows < 0:
        raise BrokenStream("announces a negative number of rows")
    return rows


def _body_size(records: "_Table", source: pa.NativeFile, body: int, body_length: int, limits: MessageLimits) -> int:
    """The size of a batch's buffers once decompressed. Buffers that overlap count as often as they are used."""
    compressed = records.position(3) != 0
    total = 0
    for offset, length in records.pairs(2, limits.buffers):
        if offset < 0 or length < 0 or offset + length > body_length:
            raise BrokenStream("has a buffer outside its message")
        total += _decompressed(source, body + offset, length) if compressed and length else length
        _check("a record batch", total, limits.batch)
    return total


def _decompressed(source: pa.NativeFile, at: int, length: int) -> int:
    size = _number(_I64, source.read_at(8, at), 0) if length >= 8 else None
    if size == _NOT_COMPRESSED:
        return length - 8
    if size is None or size < 0:
        raise BrokenStream("has a compressed buffer without a size")
    return size


def _check(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise AboveLimit(f"{what} takes {size:,} bytes, the limit is {limit:,}", limit)


def _number(kind: struct.Struct, data: bytes | memoryview, at: int) -> int:
    if at < 0 or at + kind.size > len(data):
        raise BrokenStream("has a message whose metadata are damaged")
    number: int = kind.unpack_from(data, at)[0]
    return number


class _Table:
    """A flatbuffer table. A position of 0 means that the field is absent."""

    __slots__ = ("_at", "_data", "_fields")

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - _number(_I32, data, at)

    def position(self, slot: int) -> int:
        entry = 4 + 2 * slot
        if entry >= _number(_U16, self._data, self._fields):
            return 0
        offset = _number(_U16, self._data, self._fields + entry)
        return self._at + offset if offset else 0

    def number(self, kind: struct.Struct, slot: int) -> int:
        at = self.position(slot)
        return _number(kind, self._data, at) if at else 0

    def byte(self, slot: int) -> int:
        at = self.position(slot)
        return self._data[at] if 0 < at < len(self._data) else 0

    def table(self, slot: int) -> "_Table":
        at = self.position(slot)
        if not at:
            raise BrokenStream("has a message whose metadata are incomplete")
        return _Table(self._data, at + _number(_U32, self._data, at))

    def pairs(self, slot: int, limit: int) -> Iterator[tuple[int, int]]:
        """A vector of structs of two 64-bit integers."""
        at = self.position(slot)
        if not at:
            return iter(())
        begin = at + _number(_U32, self._data, at)
        count = _number(_U32, self._data, begin)
        if count > limit:
            raise AboveLimit(f"a record batch has {count:,} buffers, the limit is {limit:,}", limit)
        if begin + 4 + 16 * count > len(self._data):
            raise BrokenStream("has a message whose metadata are damaged")
        return struct.iter_unpack("<qq", memoryview(self._data)[begin + 4 : begin + 4 + 16 * count])


class MessageHead:
    """The flatbuffer around every header: which kind of message it is, and how many bytes its body takes."""

    __slots__ = ("body_length", "header", "kind")

    def __init__(self, data: bytes, limits: MessageLimits) -> None:
        """Raises BrokenStream and AboveLimit."""
        root = _Table(data, _number(_U32, data, 0))
        self.kind = root.byte(1)
        self.header = root.table(2)
        self.body_length = root.number(_I64, 3)
        if self.body_length < 0:
            raise BrokenStream("ends in the middle of a message")
        _check("a record batch", self.body_length, limits.batch)

    @property
    def is_compressed(self) -> bool:
        """Whether the body is, of a batch of records or of a dictionary."""
        if self.kind not in (RECORDS, DICTIONARY):
            return False
        records = self.header if self.kind == RECORDS else self.header.table(1)
        return records.position(3) != 0
