"""The streams of one connection: which there are, which may be opened, and what frames mean for them."""

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Protocol

from .frame_reader import Frame
from .frames import (
    END_HEADERS,
    END_STREAM,
    LARGEST_WINDOW,
    STREAM_BITS,
    Code,
    ConnectionFault,
    StreamFault,
    check_dependency,
    reset,
    window_update,
    without_padding,
    without_priority,
)
from .header_blocks import HeaderBlock, HeaderDecoder, Headers
from .outgoing import Outgoing
from .receive_window import ReceiveWindow
from .rules import ConnectionRules
from .stream_limit import StreamLimit
from .streams import PATIENCE_SECONDS, Receiver, Stream, headers_frames
from .timers import Timers

_MOST_GIVEN_UP = 256
_LINGER_SECONDS = 1.0


class Opener(Protocol):
    """A connection."""

    def accept(self, stream: Stream, headers: Headers) -> Receiver | None:
        """Takes a stream up, by its headers."""

    def idle(self) -> None:
        """There are no more streams."""


class Gate(Protocol):
    """Whoever keeps requests out."""

    def refusal(self, headers: Headers) -> bytes | None:
        """The whole answer, as a header block, to a request that is not taken up; None for those that are. Asked of each, so it has to be
        quick."""

    def crowded(self, requests: int) -> None:
        """So many came in one turn from a peer that has as many streams open as it may."""


class StreamTable:
    """`last` is the last stream that was opened, `last_allowed` the last that may be."""

    def __init__(
        self, rules: ConnectionRules, limit: StreamLimit, opener: Opener, gate: Gate, out: Outgoing, timers: Timers
    ) -> None:
        self._rules, self._limit = rules, limit
        self._opener: Opener | None = opener
        self._gate = gate
        self._out = out
        self._decoder = HeaderDecoder(rules.max_header_bytes)
        self._window = ReceiveWindow(rules.window)
        self._block: HeaderBlock | None = None
        self._streams: dict[int, Stream] = {}
        # Whose DATA is being read; None if nobody wants it.
        self._receiving: Stream | None = None
        # The answers to requests that are refused and have not come to their end: those that wait for it since a moment, and for longer.
        self._refused: dict[int, bytes] = {}
        self._refused_before: dict[int, bytes] = {}
        # Streams that we have reset, of late.
        self._given_up: deque[int] = deque(maxlen=_MOST_GIVEN_UP)
        self.timers = timers
        self.last, self.last_allowed = 0, STREAM_BITS
        # Streams that were taken up, or refused, in this turn, and those of them that were refused at once.
        self.taken_up = self._refused_at_once = 0
        # Whether the peer is asked to connect anew.
        self.is_leaving = False

    def __len__(self) -> int:
        return len(self._streams) + len(self._refused) + len(self._refused_before)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    def begin_turn(self) -> None:
        self.taken_up = self._refused_at_once = 0

    def end_turn(self) -> None:
        """The peer has not heard yet of those that were refused in this turn."""
        if self.taken_up and self._limit.is_near(len(self) + self._refused_at_once):
            self._gate.crowded(self.taken_up)

    # Headers

    def on_request(self, number: int, block: bytes, content: memoryview) -> None:
        """A request that is there as a whole. One that is refused does not become a stream first: that would take most of the time that
        there is too little of."""
        if self._block is not None:
            self.check_between_blocks(None)
        headers = self._decoder.decode(block)
        is_new = self.last < number <= self.last_allowed and number & 1
        refusal = self._gate.refusal(headers) if headers is not None and is_new else None
        if more := self._window.take(len(content)):
            self._out.put(window_update(0, more))
        if refusal is None:
            self._take_up(number, headers, content)
            return
        self.last = number
        self.taken_up += 1
        self._refused_at_once += 1
        self._out.write(headers_frames(number, refusal, END_STREAM))

    def on_headers(self, flags: int, number: int, payload: bytes) -> None:
        self._block = HeaderBlock(number, flags, without_priority(without_padding(payload, flags), flags, number))
        if flags & END_HEADERS:
            self._end_block()

    def on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block.add(payload)
        if flags & END_HEADERS:
            self._end_block()

    def check_between_blocks(self, continued: int | None) -> None:
        """`continued` is the stream of a CONTINUATION. Raises ConnectionFault."""
        if self._block is not None and continued != self._block.stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame between the parts of a header block")

    def _take_up(self, number: int, headers: Headers | None, content: memoryview) -> None:
        self._open(number, 0, headers)
        if (stream := self._whose(number, len(content))) is not None:
            stream.receive((content,))
            stream.end_in()

    def _end_block(self) -> None:
        assert self._block is not None
        block, self._block = self._block, None
        self._open(block.stream, block.flags, self._decoder.decode(bytes(block.content)))

    def _open(self, number: int, flags: int, headers: Headers | None) -> None:
        if number <= self.last:
            self._end_by_headers(number, flags)
            return
        if not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream with an even number")
        self.last = number
        if number > self.last_allowed:
            return  # the peer knows from GOAWAY that it was not taken up
        if not self._limit.has_room(len(self)):
            raise StreamFault(number, Code.REFUSED_STREAM, "too many streams at once")
        if headers is None:
            raise StreamFault(number, Code.ENHANCE_YOUR_CALM, f"headers of more than {self._rules.max_header_bytes} bytes")
        assert self._opener is not None
        self.taken_up += 1
        if (refusal := self._gate.refusal(headers)) is not None:
            self._refuse_at_end(number, refusal)
            if flags & END_STREAM:
                self._tell_refused(number)
            return
        stream = self._add(number)
        stream.is_ended_in = bool(flags & END_STREAM)
        stream.receiver = self._opener.accept(stream, headers)
        if stream.is_ended_in:
            stream.end_in()

    def _add(self, number: int) -> Stream:
        stream = self._streams[number] = Stream(self._out, self, number, self._rules.stream_window)
        return stream

    def _end_by_headers(self, number: int, flags: int) -> None:
        """Headers after the content end a stream."""
        stream = self._streams.get(number)
        if stream is None:
            self._check_opened(number)
            if flags & END_STREAM and self._tell_refused(number):
                return
            if number in self._given_up:
                return  # it was on its way
            raise ConnectionFault(Code.STREAM_CLOSED, "HEADERS on a stream that is closed")
        if stream.is_ended_in:
            raise StreamFault(number, Code.STREAM_CLOSED, "HEADERS after the end")
        if not flags & END_STREAM:
            raise StreamFault(number, Code.PROTOCOL_ERROR, "a second header block that is not the last")
        stream.end_in()

    # DATA

    def on_data(self, frame: Frame) -> None:
        if frame.begins:
            if more := self._window.take(frame.length):
                self._out.put(window_update(0, more))
            self._receiving = self._whose(frame.stream, frame.length)
        if (stream := self._receiving) is None:
            if frame.ends and frame.flags & END_STREAM:
                self._tell_refused(frame.stream)
            return
        payload = without_padding(frame.payload, frame.flags)
        if payload or frame.more:
            stream.receive((payload, *frame.more))
        if frame.ends:
            self._receiving = None
            if frame.flags & END_STREAM:
                stream.end_in()

    def _whose(self, number: int, length: int) -> Stream | None:
        """The stream that a frame of DATA is for, None if nobody wants it any more."""
        stream = self._streams.get(number)
        if stream is not None and not stream.is_ended_in and length <= stream.window_in:
            stream.window_in -= length
            return stream
        self._check_opened(number)
        if number in self._refused or number in self._refused_before:
            return None
        self.reset(number, Code.STREAM_CLOSED if stream is None or stream.is_ended_in else Code.FLOW_CONTROL_ERROR)
        return None

    # Requests that are refused

    def _refuse_at_end(self, number: int, refusal: bytes) -> None:
        """Some clients that are answered before they have sent all take it for a failure of their own; but they are not waited for long."""
        if not self._refused and not self._refused_before:
            self.timers.call_later(PATIENCE_SECONDS, self._end_patience)
        self._refused[number] = refusal

    def _forget_refused(self, number: int) -> bytes | None:
        return self._refused.pop(number, None) or self._refused_before.pop(number, None)

    def _tell_refused(self, number: int) -> bool:
        """The request has ended. Returns whether it is one that is refused."""
        if (refusal := self._forget_refused(number)) is None:
            return False
        self._out.write(headers_frames(number, refusal, END_STREAM))
        self._look_whether_idle()
        return True

    def _end_patience(self) -> None:
        for number, refusal in self._refused_before.items():
            stream = self._add(number)
            stream.finish(refusal)
            stream.hurry()
        self._refused_before, self._refused = self._refused, {}
        if self._refused_before:
            self.timers.call_later(PATIENCE_SECONDS, self._end_patience)

    # What else is said of streams

    def on_reset(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "RST_STREAM of another length than 4")
        self._check_opened(number)
        if stream := self._streams.get(number):
            stream.lose()
        self._forget_refused(number)

    def on_priority(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY of no stream")
        if len(payload) != 5:
            raise StreamFault(number, Code.FRAME_SIZE_ERROR, "PRIORITY of another length than 5")
        check_dependency(payload, number)

    def on_window(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE of another length than 4")
        more = int.from_bytes(payload, "big") & LARGEST_WINDOW
        if not number:
            self._out.widen_connection(more)
            return
        self._check_opened(number)
        if not more:
            raise StreamFault(number, Code.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        if stream := self._streams.get(number):
            self._out.widen(stream, more)

    def _check_opened(self, number: int) -> None:
        """Raises ConnectionFault for a stream that never was."""
        if number > self.last or not number & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame of a stream that was not opened")

    # Their end

    def reset(self, number: int, code: Code) -> None:
        self._given_up.append(number)
        if stream := self._streams.get(number):
            stream.reset(code)
        else:
            self._out.put(reset(number, code))

    def forget(self, stream: Stream) -> None:
        self._streams.pop(stream.id, None)
        self._out.forget(stream)
        self._look_whether_idle()

    def _look_whether_idle(self) -> None:
        if not (self._streams or self._refused or self._refused_before) and self._opener is not None:
            self._opener.idle()

    def linger(self, stream: Stream) -> None:
        """Tells the peer that what it still sends is of no use; but some clients take a stream that ends under their hands for a failure of
        the connection, so they get a moment to read why."""
        if self.is_leaving:
            stream.reset(Code.NO_ERROR)
        else:
            self.timers.call_later(_LINGER_SECONDS, partial(self._end_lingering, stream))

    def _end_lingering(self, stream: Stream) -> None:
        if self._streams.get(stream.id) is stream:
            stream.reset(Code.NO_ERROR)

    def hurry(self) -> None:
        """Ends what only waits for the end of requests."""
        for number in (*self._refused_before, *self._refused):
            self._tell_refused(number)
        for stream in list(self._streams.values()):
            stream.hurry()

    def lose(self) -> None:
        """The peer is gone."""
        self._opener = None  # which knows this one
        self._refused.clear()
        self._refused_before.clear()
        for stream in list(self._streams.values()):
            stream.lose()
