"""The messages of PredictStream, as bytes.

Chunks of frames are most of what travels, and protobuf would copy each of them twice. So where a message is nothing but a number and
a chunk, as it is written by every protobuf library, the chunk is a view of what came from the network; and an answer with a chunk is
put together once. All other messages go through protobuf.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import grpc
from google.rpc import status_pb2

from modelwire.v1 import predict_service_pb2 as pb
from modelwire.v1.predict_service_pb2_grpc import add_PredictServiceServicer_to_server

CHUNKS = {0x1A: "header", 0x22: "historic", 0x2A: "future", 0x32: "geo"}
_CALL, _PREDICTIONS, _WHOLE = 0x08, 0x1A, 0x12
_LONGEST_VARINT = 10


class Part(NamedTuple):
    """A part of a prediction: `content` is a message, or a view of bytes."""

    call: int
    name: str | None
    content: Any


def read_part(data: bytes) -> Part:
    """Raises DecodeError."""
    return _chunk(data) or _any_part(pb.PredictStreamRequest.FromString(data))


def _any_part(message: pb.PredictStreamRequest) -> Part:
    name = message.WhichOneof("part")
    return Part(message.call, name, getattr(message, name) if name else None)


def _chunk(data: bytes) -> Part | None:
    """A message of a number and one chunk that takes all the rest; None for any other."""
    if len(data) < 4 or data[0] != _CALL:
        return None
    call, at = _varint(data, 1)
    if not 0 < at < len(data) or data[at] not in (0x22, 0x2A, 0x32) or call >> 63:
        return None
    name = CHUNKS[data[at]]
    size, at = _varint(data, at + 1)
    return Part(call, name, memoryview(data)[at:]) if at and at + size == len(data) else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends: 0 if it does not."""
    value = shift = 0
    for place in range(at, min(len(data), at + _LONGEST_VARINT)):
        value |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            return value, place + 1
        shift += 7
    return 0, 0


def _written(number: int) -> bytes:
    if number < 0:
        number += 1 << 64
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def predictions_part(call: int, buffers: Sequence[Any]) -> bytes:
    """The next bytes of the predictions."""
    size = sum(len(memoryview(buffer)) for buffer in buffers)
    return b"".join([bytes([_CALL]), _written(call), bytes([_PREDICTIONS]), _written(size), *buffers])


def whole_part(call: int, response: bytes) -> bytes:
    """An answer in one message; `response` is a PredictResponse."""
    return b"".join([bytes([_CALL]), _written(call), bytes([_WHOLE]), _written(len(response)), response])


def end_part(call: int, end: pb.PredictStreamEnd) -> bytes:
    return pb.PredictStreamResponse(call=call, end=end).SerializeToString()


def error_part(call: int, status: status_pb2.Status) -> bytes:
    return pb.PredictStreamResponse(call=call, error=status).SerializeToString()


def add_predict_service(servicer: Any, server: Any) -> None:
    """Registers the service so that PredictStream gets and writes bytes."""
    add_PredictServiceServicer_to_server(servicer, _WithBytes(servicer.PredictStream, server))


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
