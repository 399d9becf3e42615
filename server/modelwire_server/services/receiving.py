"""Streams on their way in: a header, once, then chunks of frames, GeoJSON or files.

Frames go straight into a writer of the blob store and are checked there, so that a stream of any size takes the memory of a chunk.
"""

import asyncio
import json
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pyarrow as pa
from google.protobuf.message import Message

from ..artifacts.blobs.interface import BlobStore, BlobWriter
from ..artifacts.model import Blob
from ..errors import FieldViolation, FrameTooLarge, InvalidField, InvalidFrame, InvalidGeo
from ..frames import FrameLimits, FrameSummary, StoredFrame, check_frame
from ..geo import check_geo

LARGEST_CHUNK = 4 << 20
IN_CHUNKS = "must come in chunks, not in the header"


class Receiver(Protocol):
    """Takes the chunks of one part of a stream."""

    async def add(self, chunk: bytes) -> None: ...


async def receive(
    messages: AsyncIterable[Any],
    receivers: Mapping[str, Receiver],
    on_header: Callable[[Any], Awaitable[None]],
) -> Any:
    """Takes a whole stream and returns its header. `on_header` may refuse before anything is sent. Raises InvalidField for a stream
    that is not one header followed by chunks."""
    header: Any = None
    async for message in messages:
        part = message.WhichOneof("part")
        if part == "header":
            if header is not None:
                raise out_of_order("header", "came a second time")
            header = message.header
            await on_header(header)
        elif header is None or part is None:
            raise out_of_order(part or "part", "came before the header" if part else "is needed in every message")
        else:
            await receivers[part].add(chunk_of(message, part))
    if header is None:
        raise out_of_order("header", "is needed: the stream ended without")
    return header


def chunk_of(message: Message, part: str) -> bytes:
    """Raises InvalidField for chunks that are too large."""
    chunk: bytes = getattr(message, part)
    if len(chunk) > LARGEST_CHUNK:
        raise out_of_order(part, f"has {len(chunk):,} bytes in one chunk; at most {LARGEST_CHUNK:,} are allowed")
    return chunk


def out_of_order(part: str, what: str) -> InvalidField:
    return InvalidField.of(FieldViolation(part, what))


class FrameReceiver:
    """One frame, into the blob store. Leave `stack` when done: it discards what was not finished."""

    def __init__(self, blobs: BlobStore, limits: FrameLimits, field: str, stack: AsyncExitStack) -> None:
        self._blobs = blobs
        self._limits = limits
        self._field = field
        self._stack = stack
        self._writer: BlobWriter | None = None

    async def add(self, chunk: bytes) -> None:
        """Raises FrameTooLarge, StorageFull."""
        if self._writer is None:
            self._writer = await self._stack.enter_async_context(self._blobs.writer())
        if self._writer.size + len(chunk) > self._limits.max_bytes:
            raise frame_too_large(self._field, self._limits.max_bytes)
        await self._writer.write(chunk)

    async def finish(self) -> StoredFrame:
        """The checked frame in the store. Raises InvalidFrame, FrameTooLarge, StorageFull."""
        if self._writer is None:
            text = "is needed: no chunk of it came"
            raise InvalidFrame(f"{self._field}: {text}", violations=[FieldViolation(self._field, text)], field=self._field)
        summary = await check_written(self._writer, self._limits, self._field)
        blob = await self._writer.commit()
        return StoredFrame(blob, summary.schema, summary.rows, summary.periods)


async def check_written(writer: BlobWriter, limits: FrameLimits, field: str) -> FrameSummary:
    """Checks a frame that was written but not committed. Raises InvalidFrame, FrameTooLarge."""
    await writer.flush()

    def check() -> FrameSummary:
        with pa.OSFile(str(writer.path)) as source:
            return check_frame(source, limits, field)

    return await asyncio.to_thread(check)


def frame_too_large(field: str, limit: int) -> FrameTooLarge:
    text = f"is larger than {limit:,} bytes, the limit for frames"
    return FrameTooLarge(f"{field}: {text}", violations=[FieldViolation(field, text)], field=field, limit=limit)


class Collector:
    """One part of a stream, in memory."""

    def __init__(self, field: str, max_bytes: int) -> None:
        self._field = field
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self.size = 0

    async def add(self, chunk: bytes) -> None:
        """Raises FrameTooLarge."""
        self.size += len(chunk)
        if self.size > self._max_bytes:
            raise frame_too_large(self._field, self._max_bytes)
        self._chunks.append(chunk)

    def take(self) -> bytes:
        """All that came; it is not kept."""
        taken = b"".join(self._chunks)
        self._chunks.clear()
        return taken


class GeoReceiver(Collector):
    """The GeoJSON of a stream."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__("geo", max_bytes)

    async def finish(self) -> dict[str, Any] | None:
        """The document, if one came. Raises InvalidGeo."""
        return await asyncio.to_thread(parse_geo, self.take()) if self.size else None

    async def stored(self, blobs: BlobStore) -> Blob | None:
        """The document in the store, if one came. Raises InvalidGeo, StorageFull."""
        if not self.size:
            return None
        content = self.take()
        await asyncio.to_thread(parse_geo, content)
        return await blobs.put(content)


def parse_geo(text: bytes) -> dict[str, Any]:
    """Raises InvalidGeo."""
    try:
        document: dict[str, Any] = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        what = f"is not JSON: {error}"
        raise InvalidGeo(f"geo: {what}", violations=[FieldViolation("geo", what)], field="geo") from None
    check_geo(document)
    return document


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
