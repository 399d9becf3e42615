"""Frames of numbers whose bytes are laid out like those of a frame before.

A client that predicts row after row sends the same Arrow schema and the same description of a record batch each time; only the values
differ. What was checked once holds for all frames whose bytes up to the first value, length and end are the same: where the values lie,
and that there is nothing else. So these frames are not decoded; their values are read where they lie. What differs in any of that, and
whatever is no plain number, goes through the check of every frame.

The same is done for answers: what stands before the values is kept.
"""

import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, Self, TypeVar

import numpy as np
import pyarrow as pa

from modelwire_runners.frames import Matrix
from modelwire_runners.numbers import Columns, table_of

from .arrow_messages import RECORDS, MessageHead, MessageLimits
from .frames import write_frame
from .periods import PERIOD

# So many layouts are kept, and none whose description takes more bytes.
MOST_LAYOUTS, LARGEST_PREFIX = 256, 16 * 1024
_CONTINUATION = b"\xff\xff\xff\xff"
_LENGTH = struct.Struct("<i")
_END = _CONTINUATION + bytes(4)
_LIMITS = MessageLimits(metadata=LARGEST_PREFIX, batch=1 << 62, buffers=LARGEST_PREFIX)
_FLOAT = np.dtype("<f8")
NUMPY = {pa.from_numpy_dtype(kind): np.dtype(kind) for kind in ("<f8", "<f4", "<i8", "<i4", "<i2", "i1", "<u8", "<u4", "<u2", "u1")}

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class Recent(Generic[KeyT, ValueT]):
    """What was used last, up to a number of things."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[KeyT, ValueT] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: KeyT) -> ValueT | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: KeyT, value: ValueT) -> None:
        self._kept[key] = value
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the values of a frame lie. Offsets count from its first byte; `prefix` is all that comes before the body and `tail` all
    that follows it. `strides` is set where all columns are float64 and equally far from each other, so that they are a matrix already."""

    prefix: bytes
    schema: pa.Schema
    rows: int
    size: int
    tail: bytes
    places: tuple[tuple[np.dtype[Any], int], ...]
    strides: tuple[int, int] | None


class PlainFrame:
    """A frame of numbers without gaps. Its matrix has the first `width` columns."""

    __slots__ = ("data", "layout", "width")

    def __init__(self, data: bytes, layout: Layout, width: int | None = None) -> None:
        self.data = data
        self.layout = layout
        self.width = len(layout.places) if width is None else width

    @property
    def schema(self) -> pa.Schema:
        return self.layout.schema

    @property
    def num_rows(self) -> int:
        return self.layout.rows

    def of_width(self, width: int | None) -> Self:
        return type(self)(self.data, self.layout, width)

    def is_like(self, other: object) -> bool:
        """Whether the other is one frame, too, whose values lie where these do."""
        return type(other) is PlainFrame and other.layout is self.layout and other.width == self.width

    def table(self) -> pa.Table:
        return pa.ipc.open_stream(self.data).read_all()

    def matrix(self) -> Matrix:
        layout, shape = self.layout, (self.layout.rows, self.width)
        if layout.strides is not None:
            return np.ndarray(shape, _FLOAT, self.data, layout.places[0][1], layout.strides)
        matrix = np.empty(shape, order="F")
        for place, (kind, at) in enumerate(layout.places[: self.width]):
            matrix[:, place] = np.frombuffer(self.data, kind, layout.rows, at)
        matrix.flags.writeable = False
        return matrix


class PlainFrames(PlainFrame):
    """Frames of one layout, one after the other, as one frame."""

    __slots__ = ("count",)

    def __init__(self, datas: Sequence[bytes], layout: Layout, width: int | None = None) -> None:
        super().__init__(b"".join(datas), layout, width)
        self.count = len(datas)

    @property
    def num_rows(self) -> int:
        return self.count * self.layout.rows

    def of_width(self, width: int | None) -> Self:
        # Nobody else has it, so there is no need for another one.
        self.width = self.width if width is None else width
        return self

    def table(self) -> pa.Table:
        size, data = self.layout.size, memoryview(self.data)
        frames = [pa.ipc.open_stream(data[at : at + size]).read_all() for at in range(0, len(data), size)]
        return pa.concat_tables(frames).combine_chunks()

    def matrix(self) -> Matrix:
        rows, size, places = self.layout.rows, self.layout.size, self.layout.places
        if (strides := self.layout.strides) is not None:
            shape = (self.count, rows, self.width)
            matrix = np.ndarray(shape, _FLOAT, self.data, places[0][1], (size, *strides)).reshape(self.num_rows, self.width)
        else:
            matrix = np.empty((self.num_rows, self.width))
            for place, (kind, at) in enumerate(places[: self.width]):
                values = np.ndarray((self.count, rows), kind, self.data, at, (size, kind.itemsize))
                matrix[:, place].reshape(self.count, rows)[:] = values
        matrix.flags.writeable = False
        return matrix


class NoRows:
    """A frame without rows, made once. Its matrix has the columns `inputs`, or all."""

    __slots__ = ("_matrix", "_table")
    num_rows = 0

    def __init__(self, schema: pa.Schema, inputs: Sequence[str] | None = None) -> None:
        # Its own empty_table() would import pandas.
        self._table = pa.Table.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
        self._matrix = np.empty((0, len(schema) if inputs is None else len(inputs)))
        self._matrix.flags.writeable = False

    def table(self) -> pa.Table:
        return self._table

    def matrix(self) -> Matrix:
        return self._matrix


class Layouts:
    """The layouts of frames that were checked."""

    def __init__(self) -> None:
        self._known: Recent[bytes, Layout] = Recent(MOST_LAYOUTS)
        # That of the layout which was known last, whose hash is known, too; no frame begins as it does at first.
        self._last = b"\0"

    def known(self, data: bytes) -> PlainFrame | None:
        """The frame, if it is laid out like one before."""
        prefix = self._last if data.startswith(self._last) else data[: _values_begin(data)]
        layout = self._known.get(prefix)
        if layout is None or layout.size != len(data) or not data.endswith(layout.tail):
            return None
        self._last = layout.prefix
        return PlainFrame(data, layout)

    def learn(self, data: bytes, table: pa.Table) -> None:
        """Keeps the layout of a frame that was checked and is this table, if it is plain."""
        body = _body_of_only_batch(data)
        if body is not None and (layout := _layout_of(data, body, table)):
            self._known.keep(layout.prefix, layout)


def _values_begin(data: bytes) -> int:
    """How many bytes stand before the body of the second message, where the first has none; 0 if they are too many."""
    if data[:4] != _CONTINUATION or len(data) < 8:
        return 0
    second = 8 + _LENGTH.unpack_from(data, 4)[0]
    if not 8 < second <= LARGEST_PREFIX or len(data) < second + 8 or data[second : second + 4] != _CONTINUATION:
        return 0
    begin = second + 8 + int(_LENGTH.unpack_from(data, second + 4)[0])
    return begin if second + 8 < begin <= min(len(data), LARGEST_PREFIX) else 0


def _body_of_only_batch(data: bytes) -> range | None:
    """Where the values of a checked stream lie that is a schema and one record batch, and nothing else; None for other streams."""
    begin = _values_begin(data)
    if not begin:
        return None
    second = 8 + _LENGTH.unpack_from(data, 4)[0]
    batch = MessageHead(data[second + 8 : begin], _LIMITS)  # Arrow has refused a schema with a body, so this is where it begins
    if batch.kind != RECORDS:
        return None
    body = range(begin, begin + batch.body_length)
    return body if data[body.stop :] in (b"", _END) else None


def _layout_of(data: bytes, body: range, table: pa.Table) -> Layout | None:
    """The layout of a frame of one record batch with plain numbers, where Arrow found them."""
    if not table.num_rows or not table.num_columns or PERIOD in table.column_names:
        return None
    first, places = pa.py_buffer(data).address, []
    for column in table.columns:
        kind = NUMPY.get(column.type)
        if kind is None or column.num_chunks != 1 or column.chunk(0).offset:
            return None
        validity, values = column.chunk(0).buffers()
        if validity is not None:
            return None
        at = values.address - first
        # Arrow has copied values that were compressed, or not of this machine's byte order.
        if at < body.start or at + table.num_rows * kind.itemsize > body.stop:
            return None
        places.append((kind, at))
    prefix, tail = data[: body.start], data[body.stop :]
    return Layout(prefix, table.schema, table.num_rows, len(data), tail, tuple(places), strides_of(places))


def strides_of(places: list[tuple[np.dtype[Any], int]]) -> tuple[int, int] | None:
    """The strides of a matrix whose columns lie there; None where they are no matrix."""
    steps = {after - before for (_, before), (_, after) in pairwise(places)}
    if len(steps) > 1 or any(kind != _FLOAT for kind, _ in places):
        return None
    return 8, steps.pop() if steps else 8


class Answers:
    """Columns of numbers as Arrow IPC streams."""

    def __init__(self) -> None:
        self._known: Recent[tuple[Any, ...], bytes] = Recent(MOST_LAYOUTS)

    def write(self, columns: Columns) -> bytes:
        """What write_frame() makes of a table of the columns."""
        arrays = list(columns.values())
        key = (len(arrays[0]), *columns, *[array.dtype for array in arrays])
        prefix = self._known.get(key)
        return self._first(key, columns) if prefix is None else _joined(prefix, arrays)

    def write_each(self, columns: Columns, rows: int) -> list[bytes]:
        """What write() makes of each so many rows of the columns, one after the other."""
        arrays = list(columns.values())
        prefix = self._known.get((rows, *columns, *[array.dtype for array in arrays]))
        if prefix is None or not all(array.flags.c_contiguous for array in arrays):
            count = len(arrays[0])
            return [self.write({name: array[at : at + rows] for name, array in columns.items()}) for at in range(0, count, rows)]
        return _each_joined(prefix, arrays, rows)

    def _first(self, key: tuple[Any, ...], columns: Columns) -> bytes:
        content, arrays = write_frame(table_of(columns)), list(columns.values())
        prefix = content[: len(content) - len(_joined(b"", arrays))]
        if len(prefix) <= LARGEST_PREFIX and _joined(prefix, arrays) == content:
            self._known.keep(key, prefix)
        return content


def _joined(prefix: bytes, arrays: list[np.ndarray[Any, Any]]) -> bytes:
    """The stream. Each column is filled up to a multiple of 8 bytes."""
    parts: list[Any] = [prefix]
    for array in arrays:
        parts += [array.data if array.flags.c_contiguous else array.tobytes(), bytes(-array.nbytes % 8)]
    parts.append(_END)
    return b"".join(parts)


def _each_joined(prefix: bytes, arrays: list[np.ndarray[Any, Any]], rows: int) -> list[bytes]:
    """The streams of each so many rows, laid out one after the other and cut apart at last."""
    sizes = [rows * array.itemsize for array in arrays]
    size = len(prefix) + sum(size + -size % 8 for size in sizes) + len(_END)
    count = len(arrays[0]) // rows
    streams = np.zeros((count, size), np.uint8)
    streams[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    at = len(prefix)
    for array, length in zip(arrays, sizes, strict=True):
        streams[:, at : at + length] = array.view(np.uint8).reshape(count, length)
        at += length + -length % 8
    streams[:, at:] = np.frombuffer(_END, np.uint8)
    content = streams.tobytes()
    return [content[at : at + size] for at in range(0, len(content), size)]
