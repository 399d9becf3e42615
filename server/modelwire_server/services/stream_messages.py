"""The messages of PredictStream, as bytes.

Chunks of frames are most of what travels, and protobuf would copy each of them twice (see modelwire.wire). All other messages go through
protobuf.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import grpc
from google.rpc import status_pb2

from modelwire.v1 import predict_service_pb2 as pb
from modelwire.v1.predict_service_pb2_grpc import add_PredictServiceServicer_to_server
from modelwire.wire import field_tag, read_chunk, write_bundle, write_chunk, write_part

_CHUNKS = {
    field_tag(field.number): field.name for field in pb.PredictStreamRequest.DESCRIPTOR.fields if field.type == field.TYPE_BYTES
}
# What is copied faster than looked at.
_SMALL = 4 << 10
_PREDICTIONS = field_tag(pb.PredictStreamResponse.PREDICTIONS_FIELD_NUMBER)
_WHOLE = field_tag(pb.PredictStreamResponse.WHOLE_FIELD_NUMBER)
_BUNDLE = field_tag(pb.PredictStreamResponse.BUNDLE_FIELD_NUMBER)


class Part(NamedTuple):
    """A part of a prediction, of `size` bytes: `content` is a message, or bytes."""

    call: int
    name: str | None
    content: Any
    size: int


def read_parts(data: bytes) -> Iterator[Part]:
    """One part, or those of a bundle. Raises DecodeError."""
    part = _read_part(data)
    if part.name != "bundle":
        yield part
        return
    for message in part.content.parts:
        # Read anew: each would keep the whole bundle in memory, whatever its own size is.
        yield _read_part(message.SerializeToString())


def _read_part(data: bytes) -> Part:
    if len(data) > _SMALL and (chunk := read_chunk(data, _CHUNKS)):
        call, tag, content = chunk
        return Part(call, _CHUNKS[tag], content, len(data))
    message = pb.PredictStreamRequest.FromString(data)
    name = message.WhichOneof("part")
    return Part(message.call, name, getattr(message, name) if name else None, len(data))


def predictions_part(call: int, buffers: Sequence[Any]) -> bytes:
    """The next bytes of the predictions."""
    if call < 0:
        return pb.PredictStreamResponse(call=call, predictions=b"".join(buffers)).SerializeToString()
    return write_chunk(call, _PREDICTIONS, buffers)


def whole_part(call: int, response: bytes) -> bytes:
    """An answer in one message; `response` is a PredictResponse."""
    if call < 0:
        return pb.PredictStreamResponse(call=call, whole=pb.PredictResponse.FromString(response)).SerializeToString()
    return write_part(call, _WHOLE, response)


def end_part(call: int, end: pb.PredictStreamEnd) -> bytes:
    return pb.PredictStreamResponse(call=call, end=end).SerializeToString()


def error_part(call: int, status: status_pb2.Status) -> bytes:
    return pb.PredictStreamResponse(call=call, error=status).SerializeToString()


def bundle_of(parts: Iterable[bytes]) -> bytes:
    """Parts of answers, in one message."""
    return write_bundle(_BUNDLE, parts)


def add_predict_service(servicer: Any, server: Any) -> None:
    """Registers the service so that PredictStream gets and writes bytes."""
    stand_in: Any = _WithBytes(servicer.PredictStream, server)
    add_PredictServiceServicer_to_server(servicer, stand_in)


class _WithBytes:
    """Stands for a server where the service is registered."""

    def __init__(self, predict_stream: Any, server: Any) -> None:
        self._predict_stream: Any = grpc.stream_stream_rpc_method_handler(predict_stream)
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """The same handlers come once more, by their names."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        ours = {**handlers, "PredictStream": self._predict_stream}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, ours),))
        self._server.add_registered_method_handlers(service, ours)
