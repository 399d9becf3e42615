"""One connection: frames in, frames out, and the rules that both sides have to keep."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_MAX_FRAME,
    FIRST_WINDOW,
    GOAWAY,
    HEAD_SIZE,
    HEADERS,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_BITS,
    WINDOW_UPDATE,
    Code,
    ConnectionFault,
    Setting,
    StreamFault,
    check_dependency,
    frame,
    goaway,
    read_head,
    read_settings,
    reset,
    settings_frame,
    window_update,
    without_padding,
    without_priority,
)
from .header_blocks import Field, HeaderDecoder
from .keepalive import Keepalive, KeepaliveRules
from .streams import Receiver, Stream

log = structlog.get_logger(__name__)

# Takes a stream up, by its headers.
Accept = Callable[[Stream, list[Field], "Connection"], Receiver]

# So much is collected before it is handed to the socket.
_ENOUGH = 64 << 10
# A peer that does not read what it is answered is not read any more, either.
_MOST_UNREAD = 1 << 20
# Of frames other than DATA, and of header blocks. Those above what is allowed, but below this, cost only their own stream.
_LARGEST_BLOCK = 256 << 10
_MOST_CONTINUATIONS = 64
_MOST_GIVEN_UP = 256
# Streams that are taken up before others have their turn.
_MOST_AT_ONCE = 64
_NOT_HTTP2 = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 33\r\nconnection: close\r\n\r\n"
    b"this port speaks gRPC, by HTTP/2\n"
)
_HTTP1 = re.compile(rb"[A-Z]{1,20} \S+ HTTP/1")
_LEAVING = b"leaving."
_LINGER_SECONDS = 1.0
# So long may a peer take to learn that it is to connect anew.
_ROUND_TRIP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRules:
    """Sizes are in bytes."""

    max_streams: int = 1024
    stream_window: int = 4 << 20
    window: int = 16 << 20
    max_frame: int = 1 << 20
    max_header_bytes: int = 64 << 10
    keepalive: KeepaliveRules = field(default_factory=KeepaliveRules)


class Connection(asyncio.Protocol):
    """`accept` takes streams up, `on_end` is told when the connection is gone."""

    def __init__(
        self,
        rules: ConnectionRules,
        accept: Accept,
        on_begin: Callable[["Connection"], None],
        on_end: Callable[["Connection"], None],
    ) -> None:
        self._rules = rules
        self._accept = accept
        self._on_begin, self._on_end = on_begin, on_end
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._decoder = HeaderDecoder(rules.max_header_bytes)
        self._streams: dict[int, Stream] = {}
        self._last_stream = 0
        # Streams beyond this one are not taken up any more.
        self._last_allowed = STREAM_BITS
        self._is_leaving = False
        self._leave_timer: asyncio.TimerHandle | None = None
        # What is not a whole frame yet, and how much of the preface.
        self._rest = b""
        self._is_greeted = self._is_introduced = self._is_settled = False
        # Of the frame of DATA that is being read: its stream, if that is known, what is left of it, its flags.
        self._data: tuple[Stream | None, int, int] | None = None
        # The stream, the flags and what there is of the header block that is being read, and in how many more frames it may come.
        self._block: tuple[int, int, bytearray] | None = None
        self._continuations = 0
        self._out: list[bytes | memoryview] = []
        self._out_size = 0
        self._is_flushing = False
        # Streams whose answers wait for room, and those of them that may have it.
        self._waiting: dict[int, Stream] = {}
        self._ready: dict[int, Stream] = {}
        self._is_retrying = False
        self._window_in, self._owed = rules.window, 0
        self.first_window = FIRST_WINDOW
        self._keepalive = Keepalive(rules.keepalive, self)
        self.window_out, self.max_frame = FIRST_WINDOW, FIRST_MAX_FRAME
        self.is_choked = False
        self.peer = ""
        # Methods that run for this peer, some perhaps for streams that it has given up.
        self.running = 0
        # Streams that were taken up in this turn, and whether more may be.
        self._taken_up, self._has_more = 0, False
        # Streams that we have reset, of late.
        self._given_up: deque[int] = deque(maxlen=_MOST_GIVEN_UP)

    # The socket

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.peer = _peer(transport.get_extra_info("peername"))
        self._keepalive.start()
        self._on_begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keepalive.stop()
        if self._leave_timer is not None:
            self._leave_timer.cancel()
        for stream in list(self._streams.values()):
            stream.lose()
        self._out.clear()
        self._on_end(self)

    def data_received(self, data: bytes) -> None:
        self._keepalive.heard()
        self._feed(self._rest + data if self._rest else data)

    def _feed(self, data: bytes) -> None:
        self._taken_up = 0
        try:
            self._read(data)
        except ConnectionFault as fault:
            self._fail(fault.code, str(fault))
        except Exception:
            log.exception("a connection fails")
            self._fail(Code.INTERNAL_ERROR, "a fault of the server")
        if self._taken_up >= _MOST_AT_ONCE and not self._transport.is_closing():
            # Others have their turn.
            self._has_more = True
            self._look_whether_to_read()
            self._loop.call_soon(self._go_on_reading)

    def _go_on_reading(self) -> None:
        self._has_more = False
        if not self._transport.is_closing():
            self._feed(self._rest)
            self._look_whether_to_read()

    def _look_whether_to_read(self) -> None:
        if self._has_more or self._is_unread():
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _is_unread(self) -> bool:
        return self.is_choked and self._transport.get_write_buffer_size() > _MOST_UNREAD

    def pause_writing(self) -> None:
        self.is_choked = True

    def resume_writing(self) -> None:
        self.is_choked = False
        self._look_whether_to_read()
        self._pump()

    # Reading

    def _read(self, data: bytes) -> None:
        at = 0 if self._is_greeted else self._greet(data)
        view = memoryview(data)
        try:
            while self._taken_up < _MOST_AT_ONCE and (after := self._read_one(data, view, at)) is not None:
                at = after
        finally:
            self._rest = data[at:] if self._is_greeted or at else data

    def _greet(self, data: bytes) -> int:
        if not PREFACE.startswith(data[: len(PREFACE)]):
            if _HTTP1.match(data):
                self._transport.write(_NOT_HTTP2)
            raise ConnectionFault(Code.PROTOCOL_ERROR, "no HTTP/2")
        if len(data) < len(PREFACE):
            return 0
        self._is_greeted = True
        self._introduce()
        return len(PREFACE)

    def _introduce(self) -> None:
        if self._is_introduced:
            return
        self._is_introduced = True
        rules = self._rules
        self.write(
            settings_frame(
                {
                    Setting.MAX_CONCURRENT_STREAMS: rules.max_streams,
                    Setting.INITIAL_WINDOW_SIZE: rules.stream_window,
                    Setting.MAX_FRAME_SIZE: rules.max_frame,
                    Setting.MAX_HEADER_LIST_SIZE: rules.max_header_bytes,
                }
            )
            + window_update(0, rules.window - FIRST_WINDOW)
        )

    def _read_one(self, data: bytes, view: memoryview, at: int) -> int | None:
        """Reads what stands there; returns where the next begins, None if it is not all there."""
        if self._data is not None:
            return self._read_data(view, at, *self._data)
        have = len(data) - at - HEAD_SIZE
        if have < 0 or not self._is_greeted:
            return None
        length, kind, flags, stream = read_head(data, at)
        self._check_head(length, kind, stream)
        at += HEAD_SIZE
        if kind == DATA and not flags & PADDED:
            self._data = self._begin_data(length, stream), length, flags
            return at
        if kind not in _HANDLERS:
            self._data = None, length, 0  # not known: passed over
            return at
        if have < length:
            return None
        self._guarded(_HANDLERS[kind], self, flags, stream, data[at : at + length])
        return at + length

    def _check_head(self, length: int, kind: int, stream: int) -> None:
        if length > (_LARGEST_BLOCK if kind != DATA and kind in _HANDLERS else self._rules.max_frame):
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if self._block and (kind != CONTINUATION or stream != self._block[0]):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame between the parts of a header block")
        if not self._is_settled and kind != SETTINGS:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS have to come first")

    def _guarded(self, act: Callable[..., None], *args: Any) -> None:
        try:
            act(*args)
        except StreamFault as fault:
            self._reset(fault.stream, fault.code)

    def _reset(self, number: int, code: Code) -> None:
        self._given_up.append(number)
        if stream := self._streams.get(number):
            stream.reset(code)
        else:
            self._put(reset(number, code))

    # DATA

    def _begin_data(self, length: int, number: int) -> Stream | None:
        """The stream that the frame is for, None if nobody wants it any more."""
        self._window_in -= length
        if self._window_in < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more DATA than the window of the connection takes")
        self._owed += length
        if self._owed >= self._rules.window // 2:
            self._put(window_update(0, self._owed))
            self._window_in += self._owed
            self._owed = 0
        stream = self._streams.get(number)
        if stream is not None and not stream.is_ended_in and length <= stream.window_in:
            stream.window_in -= length
            return stream
        self._check_open(number)
        self._reset(number, Code.STREAM_CLOSED if stream is None or stream.is_ended_in else Code.FLOW_CONTROL_ERROR)
        return None

    def _read_data(self, view: memoryview, at: int, stream: Stream | None, left: int, flags: int) -> int | None:
        end = min(at + left, len(view))
        left -= end - at
        if stream is not None and end > at:
            self._guarded(stream.receive, view[at:end])
        if left:
            self._data = stream, left, flags
            return end if end > at else None
        self._data = None
        if stream is not None and flags & END_STREAM:
            self._guarded(stream.end_in)
        return end

    def _on_padded_data(self, flags: int, number: int, payload: bytes) -> None:
        stream, content = self._begin_data(len(payload), number), without_padding(payload, flags)
        if stream is None:
            return
        stream.receive(memoryview(content))
        if flags & END_STREAM:
            stream.end_in()

    # Streams

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        block = without_priority(without_padding(payload, flags), flags, number)
        if flags & END_HEADERS:
            self._open(number, flags, block)
        else:
            self._block, self._continuations = (number, flags, bytearray(block)), _MOST_CONTINUATIONS

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        _, first_flags, block = self._block
        block += payload
        self._continuations -= 1
        if self._continuations < 0 or len(block) > _LARGEST_BLOCK:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block that is too large")
        if flags & END_HEADERS:
            self._block = None
            self._open(number, first_flags, bytes(block))

    def _open(self, number: int, flags: int, block: bytes) -> None:
        fields = self._decoder.decode(block)
        if number <= self._last_stream:
            self._end_by_headers(number, flags)
            return
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream with an even number")
        self._last_stream = number
        if number > self._last_allowed:
            return  # the peer knows from GOAWAY that it was not taken up
        if max(len(self._streams), self.running) >= self._rules.max_streams:
            raise StreamFault(number, Code.REFUSED_STREAM, "too many streams at once")
        if fields is None:
            raise StreamFault(number, Code.ENHANCE_YOUR_CALM, f"headers of more than {self._rules.max_header_bytes} bytes")
        self._taken_up += 1
        stream = Stream(self, number, self._rules.stream_window)
        stream.is_ended_in = bool(flags & END_STREAM)
        self._streams[number] = stream
        stream.receiver = self._accept(stream, fields, self)
        if stream.is_ended_in:
            stream.end_in()

    def _end_by_headers(self, number: int, flags: int) -> None:
        """Headers after the content end a stream."""
        stream = self._streams.get(number)
        if stream is None:
            self._check_open(number)
            if number in self._given_up:
                return  # it was on its way
            raise ConnectionFault(Code.STREAM_CLOSED, "HEADERS on a stream that is closed")
        if stream.is_ended_in:
            raise StreamFault(number, Code.STREAM_CLOSED, "HEADERS after the end")
        if not flags & END_STREAM:
            raise StreamFault(number, Code.PROTOCOL_ERROR, "a second header block that is not the last")
        stream.end_in()

    def _check_open(self, number: int) -> None:
        """Raises ConnectionFault for a stream that never was."""
        if number > self._last_stream or not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame of a stream that was not opened")

    def _on_reset(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "RST_STREAM of another length than 4")
        self._check_open(number)
        if stream := self._streams.get(number):
            stream.lose()

    def _on_priority(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY of no stream")
        if len(payload) != 5:
            raise StreamFault(number, Code.FRAME_SIZE_ERROR, "PRIORITY of another length than 5")
        check_dependency(payload, number)

    def _on_push(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "clients do not push")

    # The connection

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS of a stream")
        self._is_settled = True
        if flags & ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgement with content")
            return
        for key, value in read_settings(payload):
            self._set(key, value)
        self._put(frame(SETTINGS, ACK, 0))
        if self._waiting and not self._is_retrying:
            self._is_retrying = True
            self._loop.call_soon(self._retry)

    def _set(self, key: int, value: int) -> None:
        if key == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        if key == Setting.INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window that is too large")
            self.first_window = value
        if key == Setting.MAX_FRAME_SIZE:
            if not FIRST_MAX_FRAME <= value <= LARGEST_FRAME:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a MAX_FRAME_SIZE that is not allowed")
            self.max_frame = min(value, self._rules.max_frame)

    def _on_window(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE of another length than 4")
        more = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if number:
            self._check_open(number)
            if not more:
                raise StreamFault(number, Code.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            if stream := self._streams.get(number):
                self._widen(stream, more)
        else:
            self.window_out += more
            if not more:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            if self.window_out > LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window grows too large")
        self._pump()

    def _widen(self, stream: Stream, more: int) -> None:
        stream.widen(more)
        if stream.window_out > LARGEST_WINDOW:
            raise StreamFault(stream.id, Code.FLOW_CONTROL_ERROR, "the window grows too large")
        if stream.has_waiting:
            self._ready[stream.id] = stream

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PING of another length than 8")
        if flags & ACK:
            if payload == _LEAVING and self._is_leaving:
                self._take_no_more()
            return
        self._keepalive.pinged()
        self._put(frame(PING, ACK, 0, payload))

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY of a stream")
        # It opens no more streams; when the last is answered it closes the connection.

    # Writing

    def write(self, data: bytes | memoryview) -> None:
        """What belongs to a stream."""
        self._keepalive.strikes = 0
        self._put(data)

    def _put(self, data: bytes | memoryview) -> None:
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size >= _ENOUGH:
            self._flush()
        elif not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush_in_turn)

    def _flush_in_turn(self) -> None:
        self._is_flushing = False
        self._flush()

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._out_size = 0
            if not self._transport.is_closing():
                self._transport.write(data)
                if self._is_unread():
                    self._transport.pause_reading()

    def wants_to_send(self, stream: Stream) -> None:
        self._waiting[stream.id] = self._ready[stream.id] = stream
        self._pump()

    def _retry(self) -> None:
        """All windows have changed; done once for all such changes of a turn."""
        self._is_retrying = False
        self._ready.update(self._waiting)
        self._pump()

    def _pump(self) -> None:
        """Sends what waits, a frame of each stream in turn, as long as there is room."""
        while self._ready and self.window_out > 0 and not self.is_choked:
            number = next(iter(self._ready))
            stream = self._ready.pop(number)
            if stream.send_some():
                self._ready[number] = stream
            elif not stream.has_waiting:
                self._waiting.pop(number, None)

    # The end

    def forget(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        self._ready.pop(stream.id, None)
        self._waiting.pop(stream.id, None)
        if not self._streams:
            self._flush()  # nobody's answer could come along
            if self._last_allowed != STREAM_BITS:
                self.close()

    def linger(self, stream: Stream) -> None:
        """Tells the peer that what it still sends is of no use; but some clients take a stream that ends under their hands for a failure of
        the connection, so they get a moment to read why."""
        if self._is_leaving:
            stream.reset(Code.NO_ERROR)
        else:
            self._loop.call_later(_LINGER_SECONDS, self._end_lingering, stream)

    def _end_lingering(self, stream: Stream) -> None:
        if self._streams.get(stream.id) is stream:
            stream.reset(Code.NO_ERROR)

    def ask_whether_alive(self) -> None:
        if not self._is_greeted:
            self.abort()
            return
        self._put(frame(PING, 0, 0, bytes(8)))

    def leave(self) -> None:
        """Has the peer connect anew: streams that it opens before it has learned of it are still served (RFC 9113, section 6.8)."""
        if not self._is_leaving:
            self._is_leaving = True
            self._introduce()
            self._put(goaway(STREAM_BITS, Code.NO_ERROR) + frame(PING, 0, 0, _LEAVING))
            self._leave_timer = self._loop.call_later(_ROUND_TRIP_SECONDS, self._take_no_more)

    def _take_no_more(self) -> None:
        if self._leave_timer is None:
            return  # it was done before the peer has answered
        self._leave_timer.cancel()
        self._leave_timer = None
        self._last_allowed = self._last_stream
        self._put(goaway(self._last_allowed, Code.NO_ERROR))
        if not self._streams:
            self.close()

    def abort(self) -> None:
        self._transport.abort()

    def _fail(self, code: Code, why: str) -> None:
        if self._is_greeted:
            self._put(goaway(min(self._last_stream, self._last_allowed), code, why))
        self.close()

    def close(self) -> None:
        """Sends what is ready to be sent, and ends the connection."""
        self._flush()
        self._transport.close()


_HANDLERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    DATA: Connection._on_padded_data,
    HEADERS: Connection._on_headers,
    PRIORITY: Connection._on_priority,
    RST_STREAM: Connection._on_reset,
    SETTINGS: Connection._on_settings,
    PUSH_PROMISE: Connection._on_push,
    PING: Connection._on_ping,
    GOAWAY: Connection._on_goaway,
    WINDOW_UPDATE: Connection._on_window,
    CONTINUATION: Connection._on_continuation,
}


def _peer(address: Any) -> str:
    """As gRPC writes addresses."""
    if not isinstance(address, tuple):
        return f"unix:{address or ''}"
    host, port = address[:2]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
