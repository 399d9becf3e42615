"""One connection: frames in, frames out, and the rules that both sides have to keep."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from .departure import Departure
from .frame_reader import Frame, FrameReader, NotHttp2
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    FIRST_WINDOW,
    GOAWAY,
    HEADERS,
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
    frame,
    goaway,
    read_settings,
    settings_frame,
    window_update,
)
from .header_blocks import Headers
from .keepalive import Keepalive
from .outgoing import Outgoing, Turn
from .rules import ConnectionRules
from .stream_limit import StreamLimit
from .stream_table import Gate, StreamTable
from .streams import Receiver, Stream
from .timers import Timers

log = structlog.get_logger(__name__)

# Takes a stream up, by its headers.
Accept = Callable[[Stream, Headers, "Connection"], Receiver | None]

# Streams that are taken up before others have their turn.
_MOST_AT_ONCE = 256
_NOT_HTTP2 = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 33\r\nconnection: close\r\n\r\n"
    b"this port speaks gRPC, by HTTP/2\n"
)
_HANG_UP_SECONDS = 1.0


class Connection(asyncio.Protocol):
    """`accept` takes streams up, but for those that `gate` keeps out; `on_end` is told when the connection is gone."""

    def __init__(
        self,
        rules: ConnectionRules,
        accept: Accept,
        gate: Gate,
        on_begin: Callable[["Connection"], None],
        on_end: Callable[["Connection"], None],
        timers: Timers,
        turn: Turn,
    ) -> None:
        self._rules = rules
        self._accept, self._gate = accept, gate
        self._on_begin, self._on_end = on_begin, on_end
        self._loop = asyncio.get_running_loop()
        self._timers, self._turn = timers, turn
        self._transport: asyncio.Transport = None  # type: ignore[assignment]
        self._out: Outgoing = None  # type: ignore[assignment]
        self._streams: StreamTable = None  # type: ignore[assignment]
        self._keepalive = Keepalive(rules.keepalive, self)
        self._departure = Departure(self)
        self._limit = StreamLimit(rules.max_streams, rules.max_open)
        self._reader = FrameReader(rules.max_frame)
        # Whether more streams could be taken up than may be in one turn.
        self._has_more = False
        self._is_introduced = self._is_hung_up = False
        self.peer = ""

    # The socket

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._out = Outgoing(transport, self._keepalive, self._turn)
        self._streams = StreamTable(self._rules, self._limit, self, self._gate, self._out, self._timers)
        self.peer = _peer(transport.get_extra_info("peername"))
        self._keepalive.start()
        self._on_begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._keepalive.stop()
        self._departure.stop()
        self._streams.lose()
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
        try:
            has_more = not self._takes_all()
        except NotHttp2 as fault:
            self._hang_up(is_http1=fault.is_http1)
        except ConnectionFault as fault:
            self._fail(fault.code, str(fault))
        except Exception:
            log.exception("a connection fails")
            self._fail(Code.INTERNAL_ERROR, "a fault of the server")
        else:
            if has_more and not self._transport.is_closing():
                self._give_way()
        if not self._has_more:
            self._reader.trim()

    def _give_way(self) -> None:
        """Others have their turn."""
        self._has_more = True
        self._look_whether_to_read()
        self._loop.call_soon(self._go_on_reading)

    def _takes_all(self) -> bool:
        """Whether all that has arrived is read, and there is no more than one turn is for."""
        streams, reader = self._streams, self._reader
        streams.begin_turn()
        while streams.taken_up < _MOST_AT_ONCE:
            try:
                if (request := reader.whole_request()) is not None:
                    streams.on_request(*request)
                elif (frame := reader.next()) is not None:
                    self._take(frame)
                else:
                    break
            except StreamFault as fault:
                streams.reset(fault.stream, fault.code)
        streams.end_turn()
        return streams.taken_up < _MOST_AT_ONCE

    def _hang_up(self, *, is_http1: bool) -> None:
        """Closed at once, what is still to come would have the kernel take back what was said."""
        if is_http1:
            self._is_hung_up = True
            self._transport.write(_NOT_HTTP2)
            self._timers.call_later(_HANG_UP_SECONDS, self._transport.close)
        else:
            self._transport.close()

    def _go_on_reading(self) -> None:
        if self._has_more and not self._out.is_unread and not self._transport.is_closing():
            self._has_more = False
            self._read()
            self._look_whether_to_read()

    def _take(self, frame: Frame) -> None:
        self._streams.check_between_blocks(frame.stream if frame.kind == CONTINUATION else None)
        if frame.kind == DATA:
            self._streams.on_data(frame)
        elif of_stream := _HANDLERS_OF_STREAMS.get(frame.kind):
            of_stream(self._streams, frame.flags, frame.stream, bytes(frame.payload))
        elif handler := _HANDLERS.get(frame.kind):
            handler(self, frame.flags, frame.stream, bytes(frame.payload))

    def _introduce(self) -> None:
        if self._is_introduced:
            return
        self._is_introduced = True
        rules = self._rules
        self._out.put(
            settings_frame(
                {
                    Setting.MAX_CONCURRENT_STREAMS: self._limit.announced,
                    Setting.INITIAL_WINDOW_SIZE: rules.stream_window,
                    Setting.MAX_FRAME_SIZE: rules.max_frame,
                    Setting.MAX_HEADER_LIST_SIZE: rules.max_header_bytes,
                }
            )
            + window_update(0, rules.window - FIRST_WINDOW)
        )

    # The connection

    def _on_push(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "clients do not push")

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgement with content")
            return
        self._introduce()
        for key, value in read_settings(payload):
            self._out.apply(key, value, self._streams)
        self._out.put(frame(SETTINGS, ACK, 0))

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PING of another length than 8")
        if flags & ACK:
            self._departure.heard(payload)
            return
        self._keepalive.pinged()
        self._out.put(frame(PING, ACK, 0, payload))

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY of a stream")
        # It opens no more streams; when the last is answered it closes the connection.

    # Streams and their methods

    def accept(self, stream: Stream, headers: Headers) -> Receiver | None:
        return self._accept(stream, headers, self)

    def begins(self, *, stays: bool) -> None:
        if self._limit.begins(stays=stays):
            self._out.put(settings_frame({Setting.MAX_CONCURRENT_STREAMS: self._limit.announced}))

    def ends(self, *, stays: bool) -> None:
        self._limit.ends(stays=stays)

    def idle(self) -> None:
        self._out.flush()  # nobody's answer could come along
        if self._streams.last_allowed != STREAM_BITS:
            self.close()

    # The end

    def ask_whether_alive(self) -> None:
        if not self._reader.is_greeted:
            self.abort()
            return
        self._out.put(frame(PING, 0, 0, bytes(8)))

    def leave(self) -> None:
        """Has the peer connect anew."""
        self._introduce()
        self._streams.is_leaving = True
        self._departure.begin()

    def say(self, data: bytes) -> None:
        self._out.put(data)

    def take_no_more(self) -> None:
        self._streams.last_allowed = self._streams.last
        self._out.put(goaway(self._streams.last, Code.NO_ERROR))
        if not self._streams:
            self.close()

    def abort(self) -> None:
        self._transport.abort()

    def _fail(self, code: Code, why: str) -> None:
        if self._reader.is_greeted:
            self._out.put(goaway(min(self._streams.last, self._streams.last_allowed), code, why))
        self.close()

    def close(self) -> None:
        """Sends what is ready to be sent, and ends the connection."""
        self._streams.hurry()
        self._out.flush()
        self._transport.close()


_HANDLERS: dict[int, Callable[[Connection, int, int, bytes], None]] = {
    SETTINGS: Connection._on_settings,
    PUSH_PROMISE: Connection._on_push,
    PING: Connection._on_ping,
    GOAWAY: Connection._on_goaway,
}
_HANDLERS_OF_STREAMS: dict[int, Callable[[StreamTable, int, int, bytes], None]] = {
    HEADERS: StreamTable.on_headers,
    PRIORITY: StreamTable.on_priority,
    RST_STREAM: StreamTable.on_reset,
    WINDOW_UPDATE: StreamTable.on_window,
    CONTINUATION: StreamTable.on_continuation,
}


def _peer(address: Any) -> str:
    """As gRPC writes addresses."""
    if not isinstance(address, tuple):
        return f"unix:{address or ''}"
    host, port = address[:2]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
