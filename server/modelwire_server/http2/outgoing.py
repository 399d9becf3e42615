"""What is sent on a connection: collected for a turn of the event loop, within the windows of the peer."""

import asyncio
from collections.abc import Iterable

import structlog

from .frames import (
    FIRST_MAX_FRAME,
    FIRST_WINDOW,
    LARGEST_FRAME,
    LARGEST_WINDOW,
    Code,
    ConnectionFault,
    Setting,
    StreamFault,
)
from .keepalive import Keepalive
from .streams import Stream

log = structlog.get_logger(__name__)

# So much is collected before it is handed to the socket.
_ENOUGH = 64 << 10
# A peer that does not read so much of what it is answered is not read any more, either.
_MOST_UNREAD = 1 << 20
# Whatever the peer takes in one frame: others want to send, too.
_LARGEST_SENT = 256 << 10


class Turn:
    """The connections that have something to send when the turn of the event loop is over: one callback for all of them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Outgoing] = []

    def add(self, out: "Outgoing") -> None:
        if not self._waiting:
            self._loop.call_soon(self._end)
        self._waiting.append(out)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        for out in waiting:
            try:
                out.end_turn()
            except Exception:  # the others have their turn all the same
                log.exception("what was to be sent could not be")


class Outgoing:
    """`window` and `first_window` are what the peer takes at once, in all and of each stream; `is_choked` is whether the socket takes no
    more."""

    def __init__(self, transport: asyncio.Transport, keepalive: Keepalive, turn: Turn) -> None:
        self._transport = transport
        self._keepalive = keepalive
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._collected: list[bytes | memoryview] = []
        self._size = 0
        # Whether it is flushed when the turn is over.
        self._is_in_turn = False
        # Streams whose answers wait for room, and those of them that may have it.
        self._waiting: dict[int, Stream] = {}
        self._ready: dict[int, Stream] = {}
        self._is_retrying = False
        # No stream may send more than this beside the first window.
        self._widest = 0
        self.window = self.first_window = FIRST_WINDOW
        self.max_frame = FIRST_MAX_FRAME
        self.is_choked = False

    def put(self, data: bytes | memoryview) -> None:
        self._collected.append(data)
        self._size += len(data)
        if self._size >= _ENOUGH:
            self.flush()
        elif not self._is_in_turn:
            self._is_in_turn = True
            self._turn.add(self)

    def write(self, data: bytes | memoryview) -> None:
        """What belongs to a stream."""
        self._keepalive.strikes = 0
        self.put(data)

    def flush(self) -> None:
        if not self._collected:
            return
        data = b"".join(self._collected)
        self._collected.clear()
        self._size = 0
        if not self._transport.is_closing():
            self._transport.write(data)
            if self.is_unread:
                self._transport.pause_reading()

    @property
    def is_unread(self) -> bool:
        return self.is_choked and self._transport.get_write_buffer_size() > _MOST_UNREAD

    def unchoke(self) -> None:
        self.is_choked = False
        self.pump()

    def wants_to_send(self, stream: Stream) -> None:
        self._waiting[stream.id] = self._ready[stream.id] = stream
        self.pump()

    def forget(self, stream: Stream) -> None:
        self._ready.pop(stream.id, None)
        self._waiting.pop(stream.id, None)

    def widen(self, stream: Stream, more: int) -> None:
        """Raises StreamFault."""
        stream.more_out += more
        if stream.window_out > LARGEST_WINDOW:
            raise StreamFault(stream.id, Code.FLOW_CONTROL_ERROR, "the window grows too large")
        self._widest = max(self._widest, stream.more_out)
        if stream.has_waiting:
            self._ready[stream.id] = stream
            self.pump()

    def widen_connection(self, more: int) -> None:
        """Raises ConnectionFault."""
        if not more:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        self.window += more
        if self.window > LARGEST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window grows too large")
        self.pump()

    def apply(self, key: int, value: int, streams: Iterable[Stream]) -> None:
        """A setting of the peer, which has these streams. Raises ConnectionFault."""
        if key == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        if key == Setting.INITIAL_WINDOW_SIZE:
            self._widen_all(value, streams)
        if key == Setting.MAX_FRAME_SIZE:
            if not FIRST_MAX_FRAME <= value <= LARGEST_FRAME:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a MAX_FRAME_SIZE that is not allowed")
            self.max_frame = min(value, _LARGEST_SENT)

    def _widen_all(self, first_window: int, streams: Iterable[Stream]) -> None:
        """Many such changes take no longer with many streams: what waits is looked at once for all of a turn, and windows only where one
        may have become too large."""
        if first_window + self._widest > LARGEST_WINDOW:
            self._widest = max((stream.more_out for stream in streams), default=0)
        if first_window + max(self._widest, 0) > LARGEST_WINDOW:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window that is too large")
        self.first_window = first_window
        if self._waiting and not self._is_retrying:
            self._is_retrying = True
            self._loop.call_soon(self._retry)

    def pump(self) -> None:
        """Sends what waits, a frame of each stream in turn, as long as there is room."""
        while self._ready and self.window > 0 and not self.is_choked:
            number = next(iter(self._ready))
            stream = self._ready.pop(number)
            if stream.send_some():
                self._ready[number] = stream
            elif not stream.has_waiting:
                self._waiting.pop(number, None)

    def end_turn(self) -> None:
        self._is_in_turn = False
        self.flush()

    def _retry(self) -> None:
        self._is_retrying = False
        self._ready.update(self._waiting)
        self.pump()
