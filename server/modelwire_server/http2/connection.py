"""One connection: frames in, frames out, and the rules that both sides have to keep."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from .frame_reader import Frame, FrameReader, NotHttp2
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    GOAWAY,
    HEADERS,
    LARGEST_WINDOW,
    PING,
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
    read_settings,
    reset,
    settings_frame,
    window_update,
    without_padding,
    without_priority,
)
from .header_blocks import Field, HeaderBlock, HeaderDecoder
from .keepalive import Keepalive, KeepaliveRules
from .outgoing import Outgoing
from .streams import Receiver, Stream
from .timers import Timers

log = structlog.get_logger(__name__)

# Takes a stream up, by its headers.
Accept = Callable[[Stream, list[Field], "Connection"], Receiver | None]

_MOST_GIVEN_UP = 256
# Streams that are taken up before others have their turn.
_MOST_AT_ONCE = 256
_NOT_HTTP2 = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 33\r\nconnection: close\r\n\r\n"
    b"this port speaks gRPC, by HTTP/2\n"
)
_LEAVING = b"leaving."
_LINGER_SECONDS = 1.0
# So long may a peer take to learn that it is to connect anew.
_ROUND_TRIP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRules:
    """Sizes are in bytes. `max_streams` is for those that are answered and done with; as many as stay open may come on top of that, up to
    `max_open`."""

    max_streams: int = 100
    max_open: int = 4096
    stream_window: int = 2 << 20
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
        timers: Timers,
    ) -> None:
        self._rules = rules
        self._accept = accept
        self._on_begin, self._on_end = on_begin, on_end
        self._loop = asyncio.get_running_loop()
        self.timers = timers
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._out: Outgoing = None  # type: ignore[assignment]
        self._keepalive = Keepalive(rules.keepalive, self)
        self._reader = FrameReader(rules.max_frame)
        self._decoder = HeaderDecoder(rules.max_header_bytes)
        self._block: HeaderBlock | None = None
        self._window_in, self._owed = rules.window, 0
        self._streams: dict[int, Stream] = {}
        self._last_stream = 0
        # Whose DATA is being read; None if nobody wants it.
        self._receiving: Stream | None = None
        # Streams that were taken up in this turn, and whether more may be.
        self._taken_up, self._has_more = 0, False
        # Streams that we have reset, of late.
        self._given_up: deque[int] = deque(maxlen=_MOST_GIVEN_UP)
        # Streams beyond this one are not taken up any more.
        self._last_allowed = STREAM_BITS
        self._is_introduced = self._is_leaving = self._is_hung_up = False
        self._leave_timer: asyncio.TimerHandle | None = None
        self.peer = ""
        # Methods that run for this peer, some perhaps for streams that it has given up, and those of them that stream.
        self.running = self._staying = 0
        self._announced = rules.max_streams

    # The socket

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._out = Outgoing(transport, self._keepalive)
        self.peer = _peer(transport.get_extra_info("peername"))
        self._keepalive.start()
        self._on_begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keepalive.stop()
        if self._leave_timer is not None:
            self._leave_timer.cancel()
        for stream in list(self._streams.values()):
            stream.lose()
        self._on_end(self)

    def data_received(self, data: bytes) -> None:
        if not self._is_hung_up:
            self._keepalive.heard()
            self._reader.add(data)
            self._read()

    def pause_writing(self) -> None:
        self._out.is_choked = True

    def resume_writing(self) -> None:
        self._out.unchoke()
        if self._has_more:
            self._loop.call_soon(self._go_on_reading)
        self._look_whether_to_read()

    def _look_whether_to_read(self) -> None:
        if self._has_more or self._out.is_unread:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # Reading

    def _read(self) -> None:
        self._taken_up = 0
        try:
            while self._taken_up < _MOST_AT_ONCE and (frame := self._reader.next()) is not None:
                self._take(frame)
        except NotHttp2 as fault:
            self._hang_up(is_http1=fault.is_http1)
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
        else:
            self._reader.trim()

    def _hang_up(self, *, is_http1: bool) -> None:
        """Closed at once, what is still to come would have the kernel take back what was said."""
        if is_http1:
            self._is_hung_up = True
            self._transport.write(_NOT_HTTP2)
            self.timers.call_later(_LINGER_SECONDS, self._transport.close)
        else:
            self._transport.close()

    def _go_on_reading(self) -> None:
        if self._has_more and not self._out.is_unread and not self._transport.is_closing():
            self._has_more = False
            self._read()
            self._look_whether_to_read()

    def _take(self, frame: Frame) -> None:
        if self._block and (frame.kind != CONTINUATION or frame.stream != self._block.stream):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame between the parts of a header block")
        try:
            if frame.kind == DATA:
                self._on_data(frame)
            elif handler := _HANDLERS.get(frame.kind):
                handler(self, frame.flags, frame.stream, bytes(frame.payload))
        except StreamFault as fault:
            self._reset(fault.stream, fault.code)

    def _introduce(self) -> None:
        if self._is_introduced:
            return
        self._is_introduced = True
        rules = self._rules
        self._out.put(
            settings_frame(
                {
                    Setting.MAX_CONCURRENT_STREAMS: self._announced,
                    Setting.INITIAL_WINDOW_SIZE: rules.stream_window,
                    Setting.MAX_FRAME_SIZE: rules.max_frame,
                    Setting.MAX_HEADER_LIST_SIZE: rules.max_header_bytes,
                }
            )
            + window_update(0, rules.window - FIRST_WINDOW)
        )

    def _reset(self, number: int, code: Code) -> None:
        self._given_up.append(number)
        if stream := self._streams.get(number):
            stream.reset(code)
        else:
            self._out.put(reset(number, code))

    # DATA

    def _on_data(self, frame: Frame) -> None:
        if frame.begins:
            self._receiving = self._whose(frame.length, frame.stream)
        if (stream := self._receiving) is None:
            return
        payload = without_padding(frame.payload, frame.flags)
        if payload:
            stream.receive(payload)
        if frame.ends:
            self._receiving = None
            if frame.flags & END_STREAM:
                stream.end_in()

    def _whose(self, length: int, number: int) -> Stream | None:
        """The stream that a frame of DATA is for, None if nobody wants it any more."""
        self._window_in -= length
        if self._window_in < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more DATA than the window of the connection takes")
        self._owed += length
        if self._owed >= self._rules.window // 2:
            self._out.put(window_update(0, self._owed))
            self._window_in += self._owed
            self._owed = 0
        stream = self._streams.get(number)
        if stream is not None and not stream.is_ended_in and length <= stream.window_in:
            stream.window_in -= length
            return stream
        self._check_open(number)
        self._reset(number, Code.STREAM_CLOSED if stream is None or stream.is_ended_in else Code.FLOW_CONTROL_ERROR)
        return None

    # Streams

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        self._block = HeaderBlock(number, flags, without_priority(without_padding(payload, flags), flags, number))
        if flags & END_HEADERS:
            self._open()

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block.add(payload)
        if flags & END_HEADERS:
            self._open()

    def _open(self) -> None:
        assert self._block is not None
        number, flags, fields = self._block.stream, self._block.flags, self._decoder.decode(bytes(self._block.content))
        self._block = None
        if number <= self._last_stream:
            self._end_by_headers(number, flags)
            return
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream with an even number")
        self._last_stream = number
        if number > self._last_allowed:
            return  # the peer knows from GOAWAY that it was not taken up
        # Methods whose streams were given up need a moment to end.
        if len(self._streams) >= self._announced or self.running >= 2 * self._announced:
            raise StreamFault(number, Code.REFUSED_STREAM, "too many streams at once")
        if fields is None:
            raise StreamFault(number, Code.ENHANCE_YOUR_CALM, f"headers of more than {self._rules.max_header_bytes} bytes")
        self._taken_up += 1
        stream = Stream(self._out, self, number, self._rules.stream_window)
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
        if flags & ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgement with content")
            return
        self._introduce()
        for key, value in read_settings(payload):
            self._out.apply(key, value)
        self._out.put(frame(SETTINGS, ACK, 0))

    def _on_window(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE of another length than 4")
        more = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if number:
            self._check_open(number)
            if not more:
                raise StreamFault(number, Code.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            if stream := self._streams.get(number):
                self._out.widen(stream, more)
            return
        self._out.widen_connection(more)

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
        self._out.put(frame(PING, ACK, 0, payload))

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY of a stream")
        # It opens no more streams; when the last is answered it closes the connection.

    # Methods

    def begins(self, *, stays: bool) -> None:
        """A method runs for the peer. What it keeps open is not to keep it from asking anything else."""
        self.running += 1
        self._staying += stays
        if self._staying > self._announced - self._rules.max_streams and self._announced < self._rules.max_open:
            self._announced = min(self._announced + self._rules.max_streams, self._rules.max_open)
            self._out.put(settings_frame({Setting.MAX_CONCURRENT_STREAMS: self._announced}))

    def ends(self, *, stays: bool) -> None:
        self.running -= 1
        self._staying -= stays

    # The end

    def forget(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        self._out.forget(stream)
        if not self._streams:
            self._out.flush()  # nobody's answer could come along
            if self._last_allowed != STREAM_BITS:
                self.close()

    def linger(self, stream: Stream) -> None:
        """Tells the peer that what it still sends is of no use; but some clients take a stream that ends under their hands for a failure of
        the connection, so they get a moment to read why."""
        if self._is_leaving:
            stream.reset(Code.NO_ERROR)
        else:
            self.timers.call_later(_LINGER_SECONDS, partial(self._end_lingering, stream))

    def _end_lingering(self, stream: Stream) -> None:
        if self._streams.get(stream.id) is stream:
            stream.reset(Code.NO_ERROR)

    def ask_whether_alive(self) -> None:
        if not self._reader.is_greeted:
            self.abort()
            return
        self._out.put(frame(PING, 0, 0, bytes(8)))

    def leave(self) -> None:
        """Has the peer connect anew: streams that it opens before it has learned of it are still served (RFC 9113, section 6.8)."""
        if not self._is_leaving:
            self._is_leaving = True
            self._introduce()
            self._out.put(goaway(STREAM_BITS, Code.NO_ERROR) + frame(PING, 0, 0, _LEAVING))
            self._leave_timer = self._loop.call_later(_ROUND_TRIP_SECONDS, self._take_no_more)

    def _take_no_more(self) -> None:
        if self._leave_timer is None:
            return  # it was done before the peer has answered
        self._leave_timer.cancel()
        self._leave_timer = None
        self._last_allowed = self._last_stream
        self._out.put(goaway(self._last_allowed, Code.NO_ERROR))
        if not self._streams:
            self.close()

    def abort(self) -> None:
        self._transport.abort()

    def _fail(self, code: Code, why: str) -> None:
        if self._reader.is_greeted:
            self._out.put(goaway(min(self._last_stream, self._last_allowed), code, why))
        self.close()

    def close(self) -> None:
        """Sends what is ready to be sent, and ends the connection."""
        for stream in list(self._streams.values()):
            stream.hurry()
        self._out.flush()
        self._transport.close()


_HANDLERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
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
