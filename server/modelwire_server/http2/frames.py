"""The frames of HTTP/2 (RFC 9113, sections 4, 6 and 7)."""

import struct
from enum import IntEnum
from typing import TypeVar

Content = TypeVar("Content", bytes, memoryview)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_SIZE = 9
# The length and the type of a frame, its flags, its stream.
_HEAD = struct.Struct(">IBI")
unpack_head = _HEAD.unpack_from
STREAM_BITS = 0x7FFF_FFFF

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

# What holds until SETTINGS say something else.
FIRST_WINDOW = 65_535
FIRST_MAX_FRAME = 16_384
LARGEST_WINDOW = 0x7FFF_FFFF
LARGEST_FRAME = 0xFF_FFFF
# Of frames other than DATA, and of header blocks: those above what is allowed, but below this, cost only their own stream.
LARGEST_OTHER = 256 << 10


class Code(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


class ConnectionFault(Exception):
    """The peer broke the protocol in a way that ends the connection."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code


class StreamFault(Exception):
    """The peer broke the protocol in a way that ends one stream."""

    def __init__(self, stream: int, code: Code, why: str) -> None:
        super().__init__(why)
        self.stream = stream
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def frame_head(kind: int, flags: int, stream: int, length: int) -> bytes:
    return _HEAD.pack(length << 8 | kind, flags, stream)


def read_head(data: bytes | memoryview, at: int) -> tuple[int, int, int, int]:
    """The length, the type, the flags and the stream of the frame that begins there."""
    word, flags, stream = _HEAD.unpack_from(data, at)
    return word >> 8, word & 0xFF, flags, stream & STREAM_BITS


def settings_frame(settings: dict[Setting, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in settings.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Raises ConnectionFault."""
    if len(payload) % 6:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS of a length that is no multiple of 6")
    return list(struct.iter_unpack(">HI", payload))


def window_update(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def reset(stream: int, code: Code) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last: int, code: Code, why: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + why.encode())


def without_padding(payload: Content, flags: int) -> Content:
    """Raises ConnectionFault."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than there is payload")
    return payload[1 : len(payload) - payload[0]]


def without_priority(payload: bytes, flags: int, stream: int) -> bytes:
    """Priorities are deprecated, and ignored. Raises ConnectionFault."""
    if not flags & WITH_PRIORITY:
        return payload
    if len(payload) < 5:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS that are too short for their priority")
    check_dependency(payload, stream)
    return payload[5:]


def check_dependency(payload: bytes, stream: int) -> None:
    """Raises ConnectionFault."""
    if int.from_bytes(payload[:4], "big") & STREAM_BITS == stream:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream that depends on itself")
