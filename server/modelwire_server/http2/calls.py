"""Calls of gRPC on streams of HTTP/2."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
import structlog

from ..interceptors.context import CallContext
from .header_blocks import encode
from .messages import BadMessage, MessageReader, prefixed
from .metadata import HEAD, OK_TRAILER, Request, metadata_fields, status_fields
from .streams import Stream

log = structlog.get_logger(__name__)

_Code = grpc.StatusCode
_REFUSAL_SECONDS = 0.1
# What a call may have taken to arrive.
_ON_THE_WAY_SECONDS = 0.05


class Call(CallContext):
    """A call from its headers to its end. The method runs in a task of its own: at once if messages stream in, else when the message is
    all there.

    `handler` has a coroutine function that returns the answer, or writes the answers if they stream: what `Surrounded` makes of methods.
    """

    def __init__(
        self,
        stream: Stream,
        request: Request,
        handler: Any,
        *,
        timeout: float | None,
        peer: str,
        max_bytes: int,
        on_end: Callable[[Any], None],
    ) -> None:
        """`timeout` in seconds; `on_end` is told when the method has come to its end, which may be after the caller has left."""
        super().__init__(request.metadata, timeout)
        self._stream = stream
        self._handler = handler
        self._peer = peer
        self._on_end = on_end
        self._reader = MessageReader(max_bytes, request.fields.get("grpc-encoding", "identity"))
        # What nobody has asked for, and its size.
        self._messages: deque[bytes] = deque()
        self._queued = 0
        self._arrival: asyncio.Future[None] | None = None
        self._has_all = self._has_begun = self._is_over = False
        self._task: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        # One that is over already is refused by what surrounds the method.
        self._timer = loop.call_later(timeout, self._expire) if timeout else None
        if handler.request_streaming:
            self._start(handler.stream_stream or handler.stream_unary, None)

    def peer(self) -> str:
        return self._peer

    # What arrives

    def receive(self, piece: memoryview) -> None:
        try:
            for message in self._reader.read(piece):
                self._messages.append(message)
                self._queued += len(message)
        except BadMessage as bad:
            self.stop(_Code.RESOURCE_EXHAUSTED if bad.is_too_large else _Code.INTERNAL, str(bad))
            return
        self._arrived()

    def ended(self) -> None:
        self._has_all = True
        if self._reader.held:
            self.stop(_Code.INTERNAL, "the call ends within a message")
        elif self._handler.request_streaming:
            self._arrived()
        elif len(self._messages) != 1:
            self.stop(_Code.INTERNAL, f"the method takes one message, not {len(self._messages)}")
        else:
            self._start(self._handler.unary_stream or self._handler.unary_unary, self._messages.popleft())

    def lost(self) -> None:
        if self._ends is not None and self._ends - time.monotonic() < _ON_THE_WAY_SECONDS:
            # The caller's clock began earlier than ours.
            self._code = _Code.DEADLINE_EXCEEDED
        self._close()
        if self._task is not None:
            self._task.cancel()
        else:
            self._on_end(self)

    async def read(self) -> Any:
        """The next message, EOF after the last."""
        while not self._messages:
            if self._has_all:
                return grpc.aio.EOF
            self._arrival = asyncio.get_running_loop().create_future()
            self._stream.grant(0)
            try:
                await self._arrival
            finally:
                self._arrival = None
        message = self._messages.popleft()
        self._queued -= len(message)
        self._stream.grant(self._queued + self._reader.held)
        decode = self._handler.request_deserializer
        return decode(message) if decode else message

    def _arrived(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            if not (self._messages or self._has_all):
                self._stream.grant(0)
                return
            self._arrival.set_result(None)
        if not self._handler.request_streaming:
            self._stream.grant(0)

    # What is answered

    async def write(self, message: Any) -> None:
        if self._is_over:
            await asyncio.sleep(0)  # where its task is told that it is canceled
            return
        self._begin()
        self._stream.send(prefixed(self._encoded(message)))
        if self._stream.has_waiting:
            await self._stream.drained()

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        self._begin(initial_metadata)

    def stop(self, code: grpc.StatusCode, text: str) -> None:
        """Ends the call from outside its method."""
        self._code, self._text = code, text
        self._finish()
        if self._task is not None:
            self._task.cancel()
        else:
            self._on_end(self)

    def _begin(self, metadata: Any = ()) -> None:
        if not self._has_begun and not self._is_over:
            self._has_begun = True
            self._stream.begin(HEAD + encode(metadata_fields(metadata)) if metadata else HEAD)

    def _finish(self, message: bytes | None = None) -> None:
        """Sends the answer, if there is one, and the status."""
        if self._is_over:
            return
        self._close()
        trailer = encode(status_fields(self._number, self._text)) if self._code else OK_TRAILER
        if self._trailer:
            trailer += encode(metadata_fields(self._trailer))
        if message is not None:
            self._has_begun = True
            self._stream.answer(HEAD, prefixed(message), trailer)
        else:
            self._stream.finish(trailer if self._has_begun else HEAD + trailer)

    @property
    def _number(self) -> int:
        """Of the status."""
        return self._code.value[0] if isinstance(self._code, grpc.StatusCode) else int(self._code or 0)

    def _encoded(self, message: Any) -> bytes:
        encode_message = self._handler.response_serializer
        encoded: bytes = encode_message(message) if encode_message else message
        return encoded

    def _close(self) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self.stop(_Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

    # The method

    def _start(self, behaviour: Any, request: Any) -> None:
        decode = self._handler.request_deserializer
        self._task = asyncio.get_running_loop().create_task(self._run(behaviour, decode, request))
        self._task.add_done_callback(self._done)

    async def _run(self, behaviour: Any, decode: Any, request: Any) -> None:
        try:
            answer = await behaviour(decode(request) if decode and request is not None else request, self)
            del request
            self._finish(None if self._handler.response_streaming or self._number else self._encoded(answer))
        except grpc.aio.AbortError:
            self._finish()
        except asyncio.CancelledError:
            if not self._is_over:
                self._fail(_Code.CANCELLED, "the call was canceled")
        except Exception as error:
            log.exception("a method failed")
            self._fail(_Code.UNKNOWN, f"Unexpected {type(error)}: {error}")

    def _fail(self, code: grpc.StatusCode, text: str) -> None:
        self._code, self._text = code, text
        self._finish()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        if not self._is_over:  # it was canceled before its first step
            self._fail(_Code.CANCELLED, "the call was canceled")
        self.end()
        self._on_end(self)


class WrongRequest:
    """Answers a request that is not gRPC, once it is all there."""

    def __init__(self, stream: Stream, status: int, text: str) -> None:
        self._stream = stream
        self._head = encode([(":status", str(status)), ("content-type", "text/plain; charset=utf-8")])
        self._text = text.encode() + b"\n"

    def receive(self, piece: memoryview) -> None:
        self._stream.grant(0)

    def ended(self) -> None:
        self._stream.begin(self._head)
        self._stream.send(self._text)
        self._stream.finish()

    def lost(self) -> None:
        """Nothing is under way."""


class Refused(Exception):
    """A call that is not taken up."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.block = HEAD + encode(status_fields(code.value[0], text))


class Refusal:
    """Tells a caller that its call is not taken up: when it has sent something, since some clients that are answered before take it for a
    failure of their own; or after a moment."""

    def __init__(self, stream: Stream, refused: Refused) -> None:
        self._stream = stream
        self._block = refused.block
        self._timer = asyncio.get_running_loop().call_later(_REFUSAL_SECONDS, self.ended)

    def receive(self, piece: memoryview) -> None:
        self.ended()

    def ended(self) -> None:
        self._timer.cancel()
        self._stream.finish(self._block)

    def lost(self) -> None:
        self._timer.cancel()
