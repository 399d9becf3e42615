"""Frames: Arrow IPC streams from strangers, checked before anybody works with them.

`check_frame` is for frames of any size in a file and keeps one record batch in memory at a time; `read_frame` is for frames
that are to be worked with at once. Both walk through the announcements of the stream first, so that nothing above a limit is
decoded, and validate every array completely, so that whoever gets the frame afterwards can trust its offsets and indices.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from .arrow_messages import DICTIONARY, RECORDS, AboveLimit, Announcement, BrokenStream, MessageLimits, announcements
from .artifacts.model import Blob
from .errors import FieldViolation, FrameTooLarge, InvalidFrame
from .periods import PeriodCounter

MIB = 1 << 20
EMPTY = "is empty: an Arrow IPC stream begins with a schema"
_BYTES_OF_NOTHING = 8  # what a row counts that takes no space in Arrow, but does in every other library
_BUFFERS_PER_COLUMN = 8
_OFFSET = re.compile(r"[+-]([01]\d|2[0-3]):?[0-5]\d")

# All that Arrow raises over bytes that it cannot make sense of; ArrowInvalid is a ValueError, ArrowMemoryError a MemoryError.
_ARROW_ERRORS = (
    pa.ArrowException,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    RecursionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLimits:
    """What a frame may have at most; sizes are in bytes.

    `max_decompressed_bytes` counts all buffers once decompressed, and 8 bytes for each value that takes no space in Arrow
    (nulls, rows without columns). `max_batch_bytes` is for one record batch, `max_columns` counts nested fields too.
    """

    max_bytes: int = 4096 * MIB
    max_decompressed_bytes: int = 8192 * MIB
    max_batch_bytes: int = 128 * MIB
    max_metadata_bytes: int = 16 * MIB
    max_columns: int = 10_000
    max_depth: int = 32
    max_rows: int = 1_000_000_000
    max_batches: int = 100_000

    def in_memory(self, max_bytes: int) -> "FrameLimits":
        """The limits for a frame that is held in memory as a whole."""
        return replace(
            self,
            max_bytes=min(self.max_bytes, max_bytes),
            max_decompressed_bytes=min(self.max_decompressed_bytes, 8 * max_bytes),
        )

    @property
    def of_messages(self) -> MessageLimits:
        """The limits for each message of the stream."""
        return MessageLimits(self.max_metadata_bytes, self.max_batch_bytes, _BUFFERS_PER_COLUMN * self.max_columns)


@dataclass(frozen=True, slots=True)
class FrameSummary:
    """What a checked frame holds."""

    schema: pa.Schema
    rows: int
    periods: int | None = None


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A checked frame whose Arrow IPC stream is in the blob store. `periods` is what the longest of its time series spans."""

    blob: Blob
    schema: pa.Schema
    rows: int
    periods: int | None = None


def check_frame(source: pa.NativeFile, limits: FrameLimits, field: str) -> FrameSummary:
    """Checks a frame of any size, one record batch in memory at a time. No memory maps: their pages count as memory.

    Raises InvalidFrame and FrameTooLarge; both name `field`.
    """
    rows, periods = 0, PeriodCounter()

    def count(batch: pa.RecordBatch) -> None:
        nonlocal rows
        rows += batch.num_rows
        periods.add(batch)

    schema = _read(source, limits, field, count)
    return FrameSummary(schema, rows, periods.count)


def read_frame(data: bytes | pa.NativeFile, limits: FrameLimits, field: str) -> pa.Table:
    """Reads a frame as a whole. Raises InvalidFrame and FrameTooLarge; both name `field`."""
    source = data if isinstance(data, pa.NativeFile) else pa.BufferReader(data)
    batches: list[pa.RecordBatch] = []
    schema = _read(source, limits, field, batches.append)
    return pa.Table.from_batches(batches, schema)


def write_frame(table: pa.Table) -> bytes:
    """The table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def write_frame_parts(table: pa.Table, part_size: int = MIB) -> Iterator[bytes]:
    """The table as an Arrow IPC stream in parts of at most `part_size` bytes, cut between record batches if possible."""
    sink = _Sink()
    rows = max(1, part_size * 7 // 8 * table.num_rows // max(1, table.nbytes))
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), table.schema) as writer:
        for batch in table.to_batches(max_chunksize=rows):
            writer.write_batch(batch)
            if sink.size >= part_size // 2:
                yield from _slices(sink.take(), part_size)
    yield from _slices(sink.take(), part_size)


class _Sink:
    """Takes what Arrow writes and gives it away piece by piece."""

    closed = False

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def size(self) -> int:
        return len(self._data)

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        taken, self._data = bytes(self._data), bytearray()
        return taken

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was written stays to be taken."""


def _slices(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def _read(source: pa.NativeFile, limits: FrameLimits, field: str, take: Callable[[pa.RecordBatch], None]) -> pa.Schema:
    """Gives every checked batch away and returns the schema; whatever is wrong comes as InvalidFrame or FrameTooLarge."""
    with told_as_of(field):
        if not source.size():
            raise BrokenStream(EMPTY)
        if source.size() > limits.max_bytes:
            raise AboveLimit(f"the frame takes {source.size():,} bytes, the limit is {limits.max_bytes:,}", limits.max_bytes)
        tally = FrameTally(limits)
        for message in announcements(source, limits.of_messages):
            tally.announced(message)
        source.seek(0)
        return _decode(source, limits, tally, take)


@contextmanager
def told_as_of(field: str) -> Iterator[None]:
    """Whatever is wrong with a stream comes as InvalidFrame or FrameTooLarge, which name the field of the request."""
    try:
        yield
    except AboveLimit as error:
        raise _too_large(field, str(error), error.limit) from None
    except BrokenStream as error:
        raise _invalid(field, str(error)) from None
    except _ARROW_ERRORS as error:
        raise _invalid(field, f"cannot be read as an Arrow IPC stream: {_first_line(error)}") from None


class FrameTally:
    """What a stream has, as far as it is known, held against the limits."""

    def __init__(self, limits: FrameLimits) -> None:
        self.limits = limits
        self._size = self._rows = self._batches = 0
        self._dictionaries: dict[int, int] = {}

    def announced(self, message: Announcement) -> None:
        """Counts what a message says of itself. Raises AboveLimit."""
        self._count_bytes(message.size)
        self._batches += message.kind in (RECORDS, DICTIONARY)
        self._rows += message.rows if message.kind == RECORDS else 0
        if message.kind == DICTIONARY:
            self._count_dictionary(message)
        _limit("rows", self._rows, self.limits.max_rows)
        _limit("record batches", self._batches, self.limits.max_batches)

    def decoded(self, batch: pa.RecordBatch) -> None:
        """Validates a batch completely, and counts what only shows then. Raises AboveLimit, and what Arrow raises."""
        batch.validate(full=True)
        self._count_bytes(_hidden_bytes(batch))

    def _count_bytes(self, size: int) -> None:
        self._size += size
        _limit("bytes, decompressed", self._size, self.limits.max_decompressed_bytes)

    def _count_dictionary(self, message: Announcement) -> None:
        """Dictionaries stay in memory until they are replaced, and a delta copies what it adds to: together they are one batch."""
        before = self._dictionaries.get(message.dictionary, 0) if message.is_delta else 0
        self._dictionaries[message.dictionary] = before + message.size
        _limit("bytes in dictionaries", sum(self._dictionaries.values()), self.limits.max_batch_bytes)


def _decode(source: pa.NativeFile, limits: FrameLimits, tally: FrameTally, take: Callable[[pa.RecordBatch], None]) -> pa.Schema:
    with pa.ipc.open_stream(source, options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
        schema = reader.schema
        check_schema(schema, limits)
        for batch in reader:
            tally.decoded(batch)
            take(batch)
    return schema


def check_schema(schema: pa.Schema, limits: FrameLimits) -> None:
    """Raises BrokenStream and AboveLimit."""
    _check_names("the frame", schema.names)
    fields = 0
    for column in schema:
        fields += _count_fields(column.name, column.type, limits.max_depth)
        _limit("columns, nested ones included", fields, limits.max_columns)


def _check_names(where: str, names: list[str]) -> None:
    """Arrow does not mind names that other libraries cannot take; names that are no UTF-8 raise when they are asked for."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BrokenStream(f"has more than one column {name!r} in {where}")
        if "\0" in name:
            raise BrokenStream(f"has a column whose name holds a NUL in {where}")
        seen.add(name)


def _count_fields(column: str, kind: pa.DataType, depth: int) -> int:
    """The fields in a type. Types whose values may all point at the same bytes are refused: they expand without bound."""
    if depth == 0:
        raise AboveLimit(f"column {column!r} is nested too deeply", 0)
    if _is_refused(kind):
        raise BrokenStream(f"column {column!r} has the type {kind}, which is not supported")
    if pa.types.is_struct(kind):
        _check_names(f"column {column!r}", [kind.field(index).name for index in range(kind.num_fields)])
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        _check_zone(column, kind.tz)
    return 1 + sum(_count_fields(column, inner, depth - 1) for inner in _inner_types(kind))


def _check_zone(column: str, zone: str) -> None:
    """A time zone that is not known is an error at the first use of the column, wherever that is."""
    if _OFFSET.fullmatch(zone):
        return
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise BrokenStream(f"column {column!r} has the time zone {zone[:50]!r}, which is not known") from None


def _is_refused(kind: pa.DataType) -> bool:
    types = pa.types
    refused = (types.is_union, types.is_run_end_encoded, types.is_list_view, types.is_large_list_view)
    return any(is_one(kind) for is_one in refused)


def _inner_types(kind: pa.DataType) -> list[pa.DataType]:
    if isinstance(kind, pa.BaseExtensionType):
        return [kind.storage_type]
    if pa.types.is_dictionary(kind):
        return [kind.value_type]
    return [kind.field(index).type for index in range(kind.num_fields)]


def _hidden_bytes(batch: pa.RecordBatch) -> int:
    """What a batch takes beyond its buffers once another library has it."""
    if batch.num_columns == 0:
        return int(_BYTES_OF_NOTHING * batch.num_rows)
    return sum(_hidden_bytes_of(column) for column in batch.columns if not pa.types.is_primitive(column.type))


def _hidden_bytes_of(array: pa.Array) -> int:
    kind, types = array.type, pa.types
    if isinstance(array, pa.ExtensionArray):
        return _hidden_bytes_of(array.storage)
    if types.is_null(kind) or (types.is_struct(kind) and not kind.num_fields):
        return int(_BYTES_OF_NOTHING * len(array))
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return _viewed_bytes(array)
    if types.is_dictionary(kind):
        return _hidden_bytes_of(array.dictionary)
    if types.is_fixed_size_binary(kind):
        return 0 if kind.byte_width else int(_BYTES_OF_NOTHING * len(array))
    if types.is_fixed_size_list(kind):
        return _hidden_bytes_of(array.values) + (0 if kind.list_size else _BYTES_OF_NOTHING * len(array))
    if types.is_struct(kind):
        return sum(_hidden_bytes_of(array.field(index)) for index in range(kind.num_fields))
    if types.is_map(kind):
        return _hidden_bytes_of(array.keys) + _hidden_bytes_of(array.items)
    if types.is_list(kind) or types.is_large_list(kind):
        return _hidden_bytes_of(array.values)
    return 0


def _viewed_bytes(array: pa.Array) -> int:
    """Any number of views may show the same bytes. A view is 16 bytes, its length the first four."""
    views = np.frombuffer(array.buffers()[1], dtype="<i4", count=4 * (array.offset + len(array)))
    lengths = views.reshape(-1, 4)[array.offset :, 0]
    return int(lengths[lengths > 0].sum(dtype=np.int64))


def _limit(what: str, number: int, limit: int) -> None:
    if number > limit:
        raise AboveLimit(f"the frame has {number:,} {what}, the limit is {limit:,}", limit)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]


def _invalid(field: str, description: str) -> InvalidFrame:
    return InvalidFrame(f"{field}: {description}", violations=[FieldViolation(field, description)], field=field)


def _too_large(field: str, description: str, limit: int) -> FrameTooLarge:
    return FrameTooLarge(f"{field}: {description}", violations=[FieldViolation(field, description)], field=field, limit=limit)
