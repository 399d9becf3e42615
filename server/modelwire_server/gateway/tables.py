"""Frames on their way in and out: as JSON or as Arrow, whole or in chunks.

A method that takes frames may have a twin that takes the same request as a stream: a header, then the bytes of each frame. What is
large goes there, and Arrow does without being read.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from starlette.responses import Response

from modelwire.v1 import frame_pb2, predict_service_pb2

from ..frames import write_frame
from . import bodies
from .answers import Streamed, answer_of
from .bodies import ARROW, CHUNK
from .calls import CallFailed, code_of
from .exchange import JSON, Exchange
from .forms import FORM, parts_of
from .methods import Method
from .parsing import Complaints, read_field
from .problems import Problem
from .rendering import to_json

FRAME = "modelwire.v1.Frame"
MODEL_ID = "x-model-id"
GEO = "geo"


@dataclass(frozen=True, slots=True)
class Twin:
    """A method that takes the requests of another one in parts."""

    rpc: MethodDescriptor

    @property
    def numbered(self) -> bool:
        """Whether a stream may carry several requests, each with a number and an end."""
        return "call" in self.rpc.input_type.fields_by_name


def twin_of(rpc: MethodDescriptor) -> Twin | None:
    twin = rpc.containing_service.methods_by_name.get(f"{rpc.name}Stream")
    header = twin and twin.input_type.fields_by_name.get("header")
    return Twin(twin) if twin and header and header.message_type == rpc.input_type else None


def frame_fields(message: Descriptor) -> tuple[str, ...]:
    """The names of the fields that are frames."""
    return tuple(one.name for one in message.fields if one.message_type is not None and one.message_type.full_name == FRAME)


def takes_frames(method: Method) -> bool:
    return method.body == "*" and bool(frame_fields(method.request))


async def with_frames(exchange: Exchange) -> Response:
    """Calls a method with frames, given as JSON, with one frame that is the body itself, or with several that are parts of it."""
    if exchange.sends(ARROW):
        return await _with_arrow(exchange)
    if exchange.sends(FORM):
        return await _with_form(exchange)
    twin = twin_of(exchange.rpc)
    request = await exchange.message(without=(GEO,) if twin else ())
    geo = exchange.body.get(GEO) if twin and isinstance(exchange.body, dict) else None
    frames = {name: getattr(request, name).arrow for name in frame_fields(exchange.method.request) if request.HasField(name)}
    if twin is None or (geo is None and sum(map(len, frames.values())) <= CHUNK):
        return await _answered(exchange, await exchange.call(exchange.rpc, request))
    for name in frames:
        request.ClearField(name)
    slices: dict[str, AsyncIterable[bytes]] = {name: _slices(content) for name, content in frames.items()}
    if geo is not None:
        slices[GEO] = _slices(to_json(geo))
    return await _by_twin(exchange, twin, request, _messages(twin, request, _named(slices)))


async def _with_arrow(exchange: Exchange) -> Response:
    """The body is a frame, the rest of the request stands in the query; the past that a prediction may need is empty."""
    found = Complaints()
    request = exchange.blank(found)
    exchange.from_query(request, found)
    found.settle()
    name, twin = _main_frame(request), twin_of(exchange.rpc)
    chunks = exchange.chunks()
    first = await anext(chunks, b"")
    if twin is not None and len(first) >= CHUNK:
        parts: dict[str, AsyncIterable[bytes]] = {name: _resumed(first, chunks)}
        if name == "future":
            parts = {"historic": _slices(_empty_like(first)), **parts}
        return await _by_twin(exchange, twin, request, _messages(twin, request, _named(parts)))
    getattr(request, name).arrow = await _limited(exchange, _resumed(first, chunks))
    if name == "future":
        request.historic.arrow = _empty_like(first)
    if "form" in request.DESCRIPTOR.fields_by_name:
        request.form = frame_pb2.FRAME_FORM_ARROW
    return await _answered(exchange, await exchange.call(exchange.rpc, request))


def _main_frame(request: Any) -> str:
    """Which of its frames a body of Arrow is: `data` of a training, `future` of a prediction."""
    names = frame_fields(request.DESCRIPTOR)
    return "data" if "data" in names and ("future" not in names or not request.artifact_id) else "future"


async def _with_form(exchange: Exchange) -> Response:
    """The parts of the body are frames and GeoJSON by their names; whatever else there is stands before them, or in the query."""
    names = {*frame_fields(exchange.method.request), GEO}
    parts = parts_of(exchange.request.headers["content-type"], exchange.chunks())
    fields: dict[str, bytes] = {}
    first: tuple[str, bytes] | None = None
    async for name, content in parts:
        if name in names:
            first = name, content
            break
        fields[name] = fields.get(name, b"") + content
    found = Complaints()
    request = exchange.blank(found)
    exchange.from_query(request, found, urlencode(fields))
    found.settle()
    twin, frames = twin_of(exchange.rpc), _frames(first, parts, names)
    if twin is not None:
        return await _by_twin(exchange, twin, request, _messages(twin, request, frames))
    await _collect(exchange, request, frames)
    return await _answered(exchange, await exchange.call(exchange.rpc, request))


async def _frames(
    first: tuple[str, bytes] | None, parts: AsyncIterator[tuple[str, bytes]], names: Collection[str]
) -> AsyncIterator[tuple[str, bytes]]:
    """The frames of a form; the past is empty if it is not given, with the columns of the future."""
    seen: dict[str, bytes] = {}
    if first is not None:
        seen[first[0]] = first[1]
        yield first
    async for name, content in parts:
        if name in names:
            seen[name] = seen.get(name) or content
            yield name, content
    if "historic" in names and "historic" not in seen and "future" in seen:
        yield "historic", _empty_like(seen["future"])


async def _collect(exchange: Exchange, request: Any, frames: AsyncIterator[tuple[str, bytes]]) -> None:
    """Puts frames into a request that has no twin. Raises Problem above the limit, InvalidRequest."""
    contents: dict[str, bytearray] = {}
    async for name, content in frames:
        contents.setdefault(name, bytearray()).extend(content)
        if sum(map(len, contents.values())) > exchange.options.max_body_bytes:
            raise bodies.too_large(exchange.options.max_body_bytes)
    found = Complaints()
    if (geo := contents.pop(GEO, None)) is not None:
        read_field(request, request.DESCRIPTOR.fields_by_name[GEO], await bodies.parsed(bytes(geo)), ("body", GEO), found)
    found.settle()
    for name, collected in contents.items():
        getattr(request, name).arrow = bytes(collected)


async def _by_twin(exchange: Exchange, twin: Twin, request: Any, messages: AsyncIterable[Message]) -> Response:
    if not twin.rpc.server_streaming:
        return await answer_of(exchange, await exchange.call(twin.rpc, messages))
    predictions = _predictions(exchange.stream(twin.rpc, messages))
    first = await exchange.unless_gone(anext(predictions))
    if _wants_arrow(exchange):
        return Streamed(_resumed(first, predictions), headers={"content-type": ARROW, MODEL_ID: request.model})
    content = first + await exchange.unless_gone(_joined(predictions))
    frame = frame_pb2.Frame(arrow=content)
    return await answer_of(exchange, predict_service_pb2.PredictResponse(predictions=frame, model_id=request.model))


async def _named(parts: Mapping[str, AsyncIterable[bytes]]) -> AsyncIterator[tuple[str, bytes]]:
    for name, chunks in parts.items():
        async for chunk in chunks:
            yield name, chunk


async def _messages(twin: Twin, request: Any, parts: AsyncIterable[tuple[str, bytes]]) -> AsyncGenerator[Message, None]:
    part: Any = GetMessageClass(twin.rpc.input_type)
    number = {"call": 1} if twin.numbered else {}
    yield part(header=request, **number)
    async for name, chunk in parts:
        yield part(**{name: chunk}, **number)
    if twin.numbered:
        yield part(end=predict_service_pb2.PredictStreamEnd(), **number)


async def _predictions(answers: AsyncGenerator[Any, None]) -> AsyncGenerator[bytes, None]:
    """The bytes of the frame in the answers to one prediction. Raises CallFailed."""
    async with aclosing(answers):
        async for answer in answers:
            part = answer.WhichOneof("part")
            if part == "error":
                raise CallFailed(code_of(answer.error.code), answer.error.message, answer.error)
            if part == "predictions":
                yield answer.predictions


async def _answered(exchange: Exchange, answer: Any) -> Response:
    if not _wants_arrow(exchange):
        return await answer_of(exchange, answer)
    frames = [name for name in frame_fields(answer.DESCRIPTOR) if answer.HasField(name)]
    if not frames:
        return await answer_of(exchange, answer)
    if len(frames) > 1:
        raise Problem(406, "not-acceptable", "Not Acceptable", f"There are several frames in the answer: {', '.join(frames)}")
    headers = {"content-type": ARROW}
    if "model_id" in answer.DESCRIPTOR.fields_by_name:
        headers[MODEL_ID] = answer.model_id
    return Response(getattr(answer, frames[0]).arrow, exchange.method.success_status, headers=headers)


async def generated(exchange: Exchange) -> Response:
    """A method whose answer has frames, though it takes none."""
    return await _answered(exchange, await exchange.call(exchange.rpc, await exchange.message()))


def _wants_arrow(exchange: Exchange) -> bool:
    """The answer comes in the form of the question, unless another one is asked for."""
    return exchange.accepts(ARROW) or (exchange.sends(ARROW) and not exchange.accepts(JSON))


def _empty_like(begin: bytes) -> bytes:
    """A frame without rows that has the columns of the one that begins like this."""
    try:
        return write_frame(pa.ipc.open_stream(begin).schema.empty_table())
    except pa.ArrowException:
        return begin  # whoever reads it will say what is wrong


async def _slices(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]


async def _resumed(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    if first:
        yield first
    async for chunk in chunks:
        yield chunk


async def _joined(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def _limited(exchange: Exchange, chunks: AsyncIterator[bytes]) -> bytes:
    found, limit = bytearray(), exchange.options.max_body_bytes
    async for chunk in chunks:
        found += chunk
        if len(found) > limit:
            raise bodies.too_large(limit)
    return bytes(found)
