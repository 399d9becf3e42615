"""Frames out of what a socket gives."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD_SIZE,
    HEADERS,
    LARGEST_OTHER,
    PADDED,
    PREFACE,
    SETTINGS,
    STREAM_BITS,
    Code,
    ConnectionFault,
    read_head,
    unpack_head,
)

_HTTP1 = re.compile(rb"[A-Z]{1,20} \S+ HTTP/1")
_HTTP1_BEGINS = re.compile(rb"[A-Z]{1,20}(?: \S{0,2000}(?: [HTP/]{0,5})?)?")


class NotHttp2(ConnectionFault):
    """Something else arrives; `is_http1` is whether it is HTTP/1."""

    def __init__(self, *, is_http1: bool) -> None:
        super().__init__(Code.PROTOCOL_ERROR, "no HTTP/2")
        self.is_http1 = is_http1


class Frame(NamedTuple):
    """A frame, or a piece of one of DATA: these are handed on as they arrive, with the length of the whole. `begins` and `ends` are
    whether the piece is the first and the last.

    With a whole frame of DATA come those of the same stream that follow: `more` is their payloads, `length` and `flags` count them in,
    and `ends` is said of the last."""

    kind: int
    flags: int
    stream: int
    length: int
    payload: memoryview
    begins: bool = True
    ends: bool = True
    more: Sequence[memoryview] = ()


# A request that is there as a whole: its stream, its header block and its content.
WholeRequest = tuple[int, bytes, memoryview]


class FrameReader:
    """Takes what arrives by add(), gives frames by next()."""

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._largest_block = min(LARGEST_OTHER, max_frame)
        self._data = b""
        self._view, self._at = memoryview(self._data), 0
        # Of the frame that arrives in pieces: its type, its flags, its stream, its length and what is left of it.
        self._open: tuple[int, int, int, int, int] | None = None
        self._is_settled = False
        self.is_greeted = False

    def add(self, data: bytes) -> None:
        self._set(self._data[self._at :] + data if self._at < len(self._data) else data)

    def trim(self) -> None:
        """Keeps no more of what came than is still to be read."""
        if self._at:
            self._set(self._data[self._at :])

    def _set(self, data: bytes) -> None:
        self._data, self._view, self._at = data, memoryview(data), 0

    def whole_request(self) -> WholeRequest | None:
        """If what comes next is one frame of HEADERS and one of DATA, as in most requests, and both are all there. What else comes next,
        and whether it may, next() knows."""
        data, at = self._data, self._at
        if len(data) < at + 2 * HEAD_SIZE or not self._is_settled or self._open is not None:
            return None
        word, flags, stream = unpack_head(data, at)
        size = word >> 8
        begin = at + HEAD_SIZE
        middle = begin + size
        if word & 0xFF != HEADERS or flags != END_HEADERS or size > self._largest_block or middle + HEAD_SIZE > len(data):
            return None
        word, flags, same = unpack_head(data, middle)
        size = word >> 8
        end = middle + HEAD_SIZE + size
        if word & 0xFF != DATA or flags != END_STREAM or stream != same or size > self._max_frame or end > len(data):
            return None
        self._at = end
        return stream & STREAM_BITS, data[begin:middle], self._view[middle + HEAD_SIZE : end]

    def next(self) -> Frame | None:
        """None if there is no whole one. Raises ConnectionFault."""
        if not self.is_greeted and not self._greet():
            return None
        if self._open is not None:
            return self._piece(*self._open)
        have = len(self._view) - self._at - HEAD_SIZE
        if have < 0:
            return None
        length, kind, flags, stream = read_head(self._view, self._at)
        self._check(length, kind, flags)
        if (kind == DATA and not flags & PADDED) or kind > CONTINUATION:
            self._at += HEAD_SIZE
            piece = self._piece(kind, flags, stream, length, length)
            return self._with_more(piece) if piece is not None and piece.ends and kind == DATA else piece
        if have < length:
            return None
        begin = self._at + HEAD_SIZE
        self._at = begin + length
        return Frame(kind, flags, stream, length, self._view[begin : self._at])

    def _greet(self) -> bool:
        """Whether the preface is there. Raises NotHttp2."""
        begin = bytes(self._view[: len(PREFACE)])
        if not PREFACE.startswith(begin):
            if _HTTP1_BEGINS.fullmatch(self._view):
                return False
            raise NotHttp2(is_http1=bool(_HTTP1.match(self._view)))
        if len(begin) < len(PREFACE):
            return False
        self.is_greeted, self._at = True, len(PREFACE)
        return True

    def _piece(self, kind: int, flags: int, stream: int, length: int, left: int) -> Frame | None:
        begins = self._open is None
        payload = self._view[self._at : self._at + left]
        if not (begins or payload):
            return None
        self._at += len(payload)
        left -= len(payload)
        self._open = (kind, flags, stream, length, left) if left else None
        return Frame(kind, flags, stream, length, payload, begins, not left)

    def _with_more(self, first: Frame) -> Frame:
        """With the frames behind it, which are many where a message is large: each by itself takes longer than it takes to copy."""
        data, view, have = self._data, self._view, len(self._data)
        at, flags, stream, length = self._at, first.flags, first.stream, first.length
        size = left = 0
        more: list[memoryview] = []
        while not (left or flags & END_STREAM) and at + HEAD_SIZE <= have:
            word, next_flags, number = unpack_head(data, at)
            size = word >> 8
            if word & 0xFF != DATA or next_flags & PADDED or number & STREAM_BITS != stream or size > self._max_frame:
                break
            begin = at + HEAD_SIZE
            at = min(begin + size, have)
            left = begin + size - at
            more.append(view[begin:at])
            length += size
            flags = next_flags
        self._at = at
        self._open = (DATA, flags, stream, size, left) if left else None
        return Frame(DATA, flags, stream, length, first.payload, True, not left, more)

    def _check(self, length: int, kind: int, flags: int) -> None:
        if length > (self._largest_block if DATA < kind <= CONTINUATION else self._max_frame):
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if not self._is_settled:
            if kind != SETTINGS or flags & ACK:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS have to come first")
            self._is_settled = True
