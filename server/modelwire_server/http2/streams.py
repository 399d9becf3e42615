"""One stream of a connection: what is sent on it waits here for room, and what arrives goes to its receiver."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from .frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_MAX_FRAME,
    HEADERS,
    Code,
    StreamFault,
    frame,
    frame_head,
    reset,
    window_update,
)
from .timers import Timer, Timers

# So long does the end of an answer wait for that of the request.
PATIENCE_SECONDS = 0.1


class Receiver(Protocol):
    """Takes what arrives on a stream."""

    def receive(self, pieces: Sequence[memoryview]) -> None:
        """One or more, which belong one after the other."""

    def ended(self) -> None:
        """Nothing more comes."""

    def lost(self) -> None:
        """The peer gave the stream up, or is gone."""


class Out(Protocol):
    """What streams know of what is sent on their connection."""

    window: int
    # What each stream may send from its beginning on.
    first_window: int
    max_frame: int
    is_choked: bool

    def write(self, data: bytes | memoryview) -> None: ...

    def wants_to_send(self, stream: "Stream") -> None: ...


class Home(Protocol):
    """What streams know of their connection."""

    timers: Timers

    def forget(self, stream: "Stream") -> None: ...

    def linger(self, stream: "Stream") -> None:
        """The answer is complete before the request is."""


class Stream:
    """`window_in` is what the peer may still send, `window_out` what we may: `more_out` beside the first window, which changes for all
    streams at once."""

    __slots__ = (
        "_drained",
        "_home",
        "_is_ended_out",
        "_out",
        "_patience",
        "_queue",
        "_trailer",
        "_window",
        "id",
        "is_ended_in",
        "left_in",
        "more_out",
        "receiver",
        "window_in",
    )

    def __init__(self, out: Out, home: Home, id: int, window_in: int) -> None:
        self._out, self._home = out, home
        self._window = window_in
        self._queue: deque[memoryview] = deque()
        self._trailer: bytes | None = None
        self._drained: asyncio.Future[None] | None = None
        self._is_ended_out = False
        self._patience: Timer | None = None
        self.more_out = 0
        self.id = id
        self.window_in = window_in
        self.is_ended_in = False
        # What the peer said it would send: `content-length`.
        self.left_in: int | None = None
        self.receiver: Receiver | None = None

    @property
    def window_out(self) -> int:
        return self._out.first_window + self.more_out

    # What arrives

    def receive(self, pieces: Sequence[memoryview]) -> None:
        if self.left_in is not None:
            self.left_in -= sum(map(len, pieces))
        if self.receiver is not None:
            self.receiver.receive(pieces)

    def end_in(self) -> None:
        """Raises StreamFault."""
        if self.left_in:
            raise StreamFault(self.id, Code.PROTOCOL_ERROR, "another length than content-length says")
        self.is_ended_in = True
        if self._is_ended_out:
            self._home.forget(self)
        elif self._patience is not None:
            self._end_out()
        elif self.receiver is not None:
            self.receiver.ended()

    def grant(self, held: int) -> None:
        """Lets the peer send as much as the window takes beside the bytes that are held. Told in large steps."""
        more = self._window - held - self.window_in
        if more >= self._window // 2 and not self.is_ended_in:
            self.window_in += more
            self._out.write(window_update(self.id, more))

    # What is sent

    def begin(self, block: bytes) -> None:
        """The headers of the answer."""
        self._out.write(headers_frames(self.id, block, 0))

    def send(self, data: bytes) -> None:
        out, size = self._out, len(data)
        if self._queue or out.is_choked or size > self.window_out or size > out.window or size > out.max_frame:
            self._queue.append(memoryview(data))
            out.wants_to_send(self)
            return
        self.more_out -= size
        out.window -= size
        out.write(frame_head(DATA, 0, self.id, size) + data)

    def answer(self, head: bytes, data: bytes, trailer: bytes) -> None:
        """A whole answer, in one piece where there is room."""
        out, size, number = self._out, len(data), self.id
        if out.is_choked or self._queue or size > min(self.window_out, out.window, out.max_frame) or not self.is_ended_in:
            self.begin(head)
            self.send(data)
            self.finish(trailer)
            return
        self.more_out -= size
        out.window -= size
        out.write(
            headers_frames(number, head, 0) + frame_head(DATA, 0, number, size) + data + headers_frames(number, trailer, END_STREAM)
        )
        self.receiver = None
        self._home.forget(self)

    def finish(self, block: bytes = b"") -> None:
        """The last headers, if there are any, after what was sent."""
        self._trailer = block
        if self._queue:
            return
        if self.is_ended_in:
            self._end_out()
        else:
            # Some clients that are answered between two of their messages take it for a failure of their own.
            self._patience = self._home.timers.call_later(PATIENCE_SECONDS, self._end_out)

    def hurry(self) -> None:
        """Ends what only waits for the end of the request."""
        if self._patience is not None:
            self._end_out()

    def send_some(self) -> bool:
        """One frame of what waits, if there is room; returns whether there is more to be sent, and room for it."""
        if not self._queue:
            return False
        out, data = self._out, self._queue[0]
        size = min(len(data), self.window_out, out.window, out.max_frame)
        if size <= 0:
            return False
        self.more_out -= size
        out.window -= size
        out.write(frame_head(DATA, 0, self.id, size))
        out.write(data[:size])
        if size < len(data):
            self._queue[0] = data[size:]
        else:
            self._queue.popleft()
        if not self._queue:
            self._has_sent()
        return bool(self._queue) and self.window_out > 0

    @property
    def has_waiting(self) -> bool:
        return bool(self._queue)

    def drop_waiting(self) -> None:
        """Gives up what could not be sent yet."""
        self._queue.clear()
        self._wake()

    async def drained(self) -> None:
        """Waits until all that was sent is on its way, or the stream is over."""
        while self._queue:
            # Whoever waited before may have been canceled, and the future with it.
            if self._drained is None or self._drained.done():
                self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def reset(self, code: Code) -> None:
        """Ends the stream at once."""
        self._out.write(reset(self.id, code))
        self.lose()

    def lose(self) -> None:
        """The stream is over, whatever was still to be sent."""
        if self._patience is not None:
            self._patience.cancel()
        self.drop_waiting()
        self._home.forget(self)
        if (receiver := self.receiver) is not None:
            self.receiver = None
            receiver.lost()

    def _has_sent(self) -> None:
        self._wake()
        if self._trailer is not None:
            self._end_out()

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def _end_out(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        assert self._trailer is not None
        self._out.write(headers_frames(self.id, self._trailer, END_STREAM) if self._trailer else frame(DATA, END_STREAM, self.id))
        self.receiver = None
        self._is_ended_out = True
        if self.is_ended_in:
            self._home.forget(self)
        else:
            self._home.linger(self)


def headers_frames(stream: int, block: bytes, flags: int) -> bytes:
    """Of a block that is cut where it is too long for one."""
    if len(block) <= FIRST_MAX_FRAME:
        return frame_head(HEADERS, flags | END_HEADERS, stream, len(block)) + block
    pieces = [block[at : at + FIRST_MAX_FRAME] for at in range(0, len(block), FIRST_MAX_FRAME)]
    first, *others, last = pieces
    frames = [frame(HEADERS, flags, stream, first), *(frame(CONTINUATION, 0, stream, piece) for piece in others)]
    return b"".join([*frames, frame(CONTINUATION, END_HEADERS, stream, last)])
