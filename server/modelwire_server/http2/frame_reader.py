"""Frames out of what a socket gives."""

import re
from typing import NamedTuple

from .frames import ACK, CONTINUATION, DATA, HEAD_SIZE, LARGEST_OTHER, PADDED, PREFACE, SETTINGS, Code, ConnectionFault, read_head

_HTTP1 = re.compile(rb"[A-Z]{1,20} \S+ HTTP/1")
_HTTP1_BEGINS = re.compile(rb"[A-Z]{1,20}(?: \S{0,2000}(?: [HTP/]{0,5})?)?")


class NotHttp2(ConnectionFault):
    """Something else arrives; `is_http1` is whether it is HTTP/1."""

    def __init__(self, *, is_http1: bool) -> None:
        super().__init__(Code.PROTOCOL_ERROR, "no HTTP/2")
        self.is_http1 = is_http1


class Frame(NamedTuple):
    """A frame, or a piece of one of DATA: these are handed on as they arrive, with the length of the whole. `begins` and `ends` are
    whether the piece is the first and the last."""

    kind: int
    flags: int
    stream: int
    length: int
    payload: memoryview
    begins: bool = True
    ends: bool = True


class FrameReader:
    """Takes what arrives by add(), gives frames by next()."""

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._view, self._at = memoryview(b""), 0
        # Of the frame that arrives in pieces: its type, its flags, its stream, its length and what is left of it.
        self._open: tuple[int, int, int, int, int] | None = None
        self._is_settled = False
        self.is_greeted = False

    def add(self, data: bytes) -> None:
        rest = self._view[self._at :]
        self._view, self._at = memoryview(bytes(rest) + data if rest else data), 0

    def trim(self) -> None:
        """Keeps no more of what came than is still to be read."""
        if self._at:
            self._view, self._at = memoryview(bytes(self._view[self._at :])), 0

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
            return self._piece(kind, flags, stream, length, length)
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

    def _check(self, length: int, kind: int, flags: int) -> None:
        if length > (min(LARGEST_OTHER, self._max_frame) if DATA < kind <= CONTINUATION else self._max_frame):
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if not self._is_settled:
            if kind != SETTINGS or flags & ACK:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS have to come first")
            self._is_settled = True
