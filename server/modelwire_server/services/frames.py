"""Frames of messages: to tables and stored frames, and back."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from google.protobuf import struct_pb2
from google.protobuf.message import Message

from modelwire.v1 import frame_pb2
from modelwire_runners.numbers import Columns, table_of

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.model import Blob
from ..errors import FieldViolation, InvalidFrame
from ..frames import FrameLimits, FrameSummary, StoredFrame, check_frame, read_frame, write_frame
from ..geo import check_geo
from ..layouts import Answers, Layouts, PlainFrame
from ..periods import count_periods
from ..rows import ColumnInfo, rows_from_table, table_from_rows
from .values import dict_of, fill_list, value_of

# A frame up to this size is read on the event loop: handing it to a thread would take longer than reading it.
SMALL = 128 * 1024


@dataclass(frozen=True, slots=True)
class FrameReader:
    """Reads the frames and the GeoJSON of single messages."""

    limits: FrameLimits
    blobs: BlobStore
    _layouts: Layouts = field(default_factory=Layouts, init=False, repr=False)

    async def frame(self, message: Message, field: str) -> pa.Table | PlainFrame:
        """The frame in a field of the message, undecoded if its layout is known. Raises InvalidFrame, FrameTooLarge."""
        frame = _frame(message, field)
        if frame.WhichOneof("content") == "table":
            return await asyncio.to_thread(_table, frame.table, f"{field}.table")
        content = frame.arrow  # a new object each time
        if (plain := self._layouts.known(content)) is not None:
            return plain
        table = await self._read(content, field)
        self._layouts.learn(content, table)
        return table

    def known(self, frame: frame_pb2.Frame) -> PlainFrame | None:
        """The frame, if it is in Arrow and laid out like one before."""
        return self._layouts.known(frame.arrow) if frame.WhichOneof("content") == "arrow" else None

    async def table(self, message: Message, field: str) -> pa.Table:
        """The frame in a field of the message. Raises InvalidFrame, FrameTooLarge."""
        frame = _frame(message, field)
        if frame.WhichOneof("content") == "table":
            return await asyncio.to_thread(_table, frame.table, f"{field}.table")
        return await self._read(frame.arrow, field)

    async def _read(self, content: bytes, field: str) -> pa.Table:
        if len(content) <= SMALL:
            return read_frame(content, self.limits, field)
        return await asyncio.to_thread(read_frame, content, self.limits, field)

    async def stored(self, message: Message, field: str) -> StoredFrame:
        """The frame in a field of the message, checked and in the store. Raises InvalidFrame, FrameTooLarge, StorageFull."""
        frame = _frame(message, field)
        if frame.WhichOneof("content") == "table":
            table = await asyncio.to_thread(_table, frame.table, f"{field}.table")
            summary = FrameSummary(table.schema, table.num_rows, count_periods(table))
            content = await asyncio.to_thread(write_frame, table)
        else:
            content = frame.arrow
            summary = await asyncio.to_thread(check_frame, pa.BufferReader(content), self.limits, field)
        blob = await self.blobs.put(content)
        return StoredFrame(blob, summary.schema, summary.rows, summary.periods)

    def geo(self, message: Any) -> dict[str, Any] | None:
        """The GeoJSON of a request, if it has any. Raises InvalidGeo."""
        if not message.HasField("geo"):
            return None
        document = dict_of(message.geo, "geo")
        check_geo(document)
        return document

    async def stored_geo(self, message: Any) -> Blob | None:
        """The GeoJSON of a request in the store, if it has any. Raises InvalidGeo, StorageFull."""
        document = self.geo(message)
        return None if document is None else await self.blobs.put(json.dumps(document).encode())


def _frame(message: Message, field: str) -> frame_pb2.Frame:
    frame: frame_pb2.Frame = getattr(message, field)
    if frame.WhichOneof("content") is None:
        text = "is needed: give `arrow` or `table`"
        raise InvalidFrame(f"{field}: {text}", violations=[FieldViolation(field, text)], field=field)
    return frame


def _table(table: frame_pb2.Table, field: str) -> pa.Table:
    schema = [ColumnInfo(one.name, one.type, one.title, one.description) for one in table.schema.fields]
    rows = [_row(row, f"{field}.data[{number}]") for number, row in enumerate(table.data)]
    return table_from_rows(list(table.columns), rows, schema, field)


def _row(row: struct_pb2.ListValue, field: str) -> list[Any]:
    return [value_of(value, field, exact=True) for value in row.values]


def form_of(wanted: "frame_pb2.FrameForm.ValueType", question: frame_pb2.Frame) -> "frame_pb2.FrameForm.ValueType":
    """The form of an answer: what was asked for, else the form of the question."""
    if wanted != frame_pb2.FRAME_FORM_UNSPECIFIED:
        return wanted
    as_table = question.WhichOneof("content") == "table"
    return frame_pb2.FRAME_FORM_TABLE if as_table else frame_pb2.FRAME_FORM_ARROW


answers = Answers()


def frame_of(answer: pa.Table | Columns, form: "frame_pb2.FrameForm.ValueType" = frame_pb2.FRAME_FORM_ARROW) -> frame_pb2.Frame:
    """Raises FrameTooLarge for columns and rows that would be very large."""
    if form != frame_pb2.FRAME_FORM_TABLE:
        return frame_pb2.Frame(arrow=answers.write(answer) if isinstance(answer, dict) else write_frame(answer))
    table = table_of(answer) if isinstance(answer, dict) else answer
    columns, rows, schema = rows_from_table(table)
    fields = [frame_pb2.TableField(name=c.name, type=c.type, title=c.title, description=c.description) for c in schema]
    answer = frame_pb2.Frame(table=frame_pb2.Table(columns=columns, schema=frame_pb2.TableSchema(fields=fields)))
    for row in rows:
        fill_list(answer.table.data.add(), row)
    return answer
