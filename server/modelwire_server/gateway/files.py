"""Content on its way out and in: a header, then chunks."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pyarrow as pa
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from starlette.responses import Response

from modelwire.v1 import artifact_service_pb2

from .answers import Streamed, answer_of
from .artifacts import GET_ARTIFACT, PICKLE, is_pickled_model
from .bodies import ARROW, media_type, parsed, too_large
from .exchange import JSON, Exchange
from .frames import frame_to_csv, records_json
from .methods import Method
from .parsing import Complaints, read_message
from .shapes import FRAME_JSON

CSV = "text/csv"
# So long may the header of an upload be.
LARGEST_HEADER = 1 << 20
_SUFFIXES = {"application/zip": "zip", CSV: "csv", JSON: "json", FRAME_JSON: "json", "image/png": "png", ARROW: "arrows"}


def is_download(method: Method) -> bool:
    """Whether a method streams a header and then chunks."""
    return method.server_streaming and {"header", "chunk"} <= set(method.response.fields_by_name)


def is_upload(method: Method) -> bool:
    """Whether a method takes a stream of a header and then chunks."""
    return method.client_streaming and {"header", "chunk"} <= set(method.request.fields_by_name)


async def download(exchange: Exchange) -> Response:
    """Content as a file. A frame is sent as rows of JSON, unless its Arrow stream or CSV is asked for, a pickled model in a zip file,
    unless the pickle is."""
    request = await exchange.message()
    header, parts = await _begun(exchange, request)
    if header.content_type == PICKLE and not exchange.accepts(PICKLE) and await _is_model(exchange, request.artifact_id):
        await parts.aclose()
        request.zipped = True
        header, parts = await _begun(exchange, request)
    if header.content_type != ARROW or exchange.accepts(ARROW):
        return _file(exchange, header.content_type, _bytes(parts), length=header.content_size - request.offset)
    table = pa.ipc.open_stream(await exchange.unless_gone(_joined(parts))).read_all()
    if exchange.accepts(CSV):
        return _file(exchange, CSV, _once(frame_to_csv(table)))
    return _file(exchange, FRAME_JSON, _once(records_json(table)))


async def _begun(exchange: Exchange, request: Any) -> tuple[Any, AsyncGenerator[Any, None]]:
    """The header of a download, and the chunks that follow."""
    parts: AsyncGenerator[Any, None] = exchange.stream(exchange.rpc, request)
    return (await exchange.unless_gone(anext(parts))).header, parts


async def _is_model(exchange: Exchange, artifact_id: str) -> bool:
    read = artifact_service_pb2.GetArtifactRequest(artifact_id=artifact_id)
    data = (await exchange.call(GET_ARTIFACT, read)).artifact.data
    return is_pickled_model(data.type, data.content_type)


def _file(exchange: Exchange, content_type: str, content: AsyncGenerator[bytes, None], length: int | None = None) -> Response:
    name = next(iter(exchange.match.values.values()))
    suffix = _SUFFIXES.get(media_type(content_type), "bin")
    headers = {"content-disposition": f"attachment; filename=artifact_{name}.{suffix}", "content-type": content_type}
    if length is not None:
        headers["content-length"] = str(length)
    return Streamed(content, headers=headers)


async def _bytes(parts: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(parts):
        async for part in parts:
            yield part.chunk


async def _joined(parts: AsyncGenerator[Any, None]) -> bytes:
    return b"".join([chunk async for chunk in _bytes(parts)])


async def _once(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


async def raw(exchange: Exchange) -> Response:
    """A stream of google.api.HttpBody: the first one says what the bytes of all are."""
    parts: AsyncGenerator[Any, None] = exchange.stream(exchange.rpc, await exchange.message())
    first = await exchange.unless_gone(anext(parts))
    return Streamed(_data(first, parts), headers={"content-type": first.content_type})


async def _data(first: Any, parts: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(parts):
        yield first.data
        async for part in parts:
            yield part.data


async def upload(exchange: Exchange) -> Response:
    """The body is the content, whatever it is; the header's fields stand in the query, and its type in Content-Type."""
    return await _sent(exchange, _first(exchange), exchange.chunks())


async def upload_or_address(exchange: Exchange) -> Response:
    """As upload(); a body that is a JSON object is the header instead, which says where the content is."""
    chunks = exchange.chunks()
    begun = await anext(chunks, b"")
    if not begun.lstrip().startswith(b"{"):
        return await _sent(exchange, _first(exchange), _again(begun, chunks))
    text = bytearray(begun)
    async for chunk in chunks:
        text += chunk
        if len(text) > LARGEST_HEADER:
            raise too_large(LARGEST_HEADER)
    first = _first(exchange)
    found = Complaints()
    read_message(first.header, await parsed(bytes(text)), ("body",), found)
    found.settle()
    return await _sent(exchange, first, _nothing())


def _first(exchange: Exchange) -> Any:
    """The header, with what the query and Content-Type say. Raises InvalidRequest."""
    first: Any = GetMessageClass(exchange.method.request)()
    first.header.SetInParent()
    found = Complaints()
    exchange.from_query(first.header, found)
    found.settle()
    if "content_type" in first.header.DESCRIPTOR.fields_by_name and not first.header.content_type:
        first.header.content_type = exchange.request.headers.get("content-type", "")
    return first


async def _sent(exchange: Exchange, first: Message, chunks: AsyncIterator[bytes]) -> Response:
    return await answer_of(exchange, await exchange.call(exchange.rpc, _with_chunks(first, chunks)))


async def _with_chunks(first: Message, chunks: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    yield first
    async for chunk in chunks:
        yield type(first)(chunk=chunk)


async def _again(begun: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if begun:
        yield begun
    async for chunk in chunks:
        yield chunk


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
