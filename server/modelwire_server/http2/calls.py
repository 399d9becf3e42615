"""Calls of gRPC on streams of HTTP/2."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

import grpc
import structlog

from ..interceptors.context import CallContext, Trailer
from .admission import Admission
from .frames import Code
from .header_blocks import NO_TABLE, encode
from .messages import PREFIX_SIZE, BadMessage, Message, MessageReader, prefixed
from .metadata import HEAD, OK_TRAILER, Request, metadata_fields, status_fields
from .streams import Stream
from .timers import Timers

log = structlog.get_logger(__name__)

_Code = grpc.StatusCode
_ONE_MESSAGE = "the method takes one message"
# So much is written before others have their turn.
_MUCH = 64 << 10
# An answer of a call without deadline that its caller does not read is given up after so long.
_MOST_SECONDS_TO_SEND = 300.0
# What a call may have taken to arrive.
_ON_THE_WAY_SECONDS = 0.05


class Peer(Protocol):
    """What a call knows of its connection."""

    peer: str

    def ends(self, *, stays: bool) -> None: ...


class Watch(Protocol):
    """Who is told what becomes of calls."""

    timers: Timers
    admission: Admission

    def ended(self, call: "Call") -> None:
        """The method has come to its end, which may be after the caller has left; or it will never run."""


class Call(CallContext):
    """A call from its headers to its end. The method runs in a task of its own: at once if messages stream in, else when the message is
    all there and it is its turn.

    `handler` has a coroutine function that returns the answer, or writes the answers if they stream: what `Surrounded` makes of methods.
    """

    def __init__(
        self,
        stream: Stream,
        request: Request,
        handler: Any,
        *,
        timeout: float | None,
        connection: Peer,
        max_bytes: int,
        watch: Watch,
    ) -> None:
        """`timeout` in seconds."""
        super().__init__(request.metadata, timeout)
        self._stream = stream
        self._handler = handler
        self._watch = watch
        self._reader = MessageReader(max_bytes, request.fields.get("grpc-encoding", "identity"))
        # What nobody has asked for yet, and its size.
        self._messages: deque[Message] = deque()
        self._queued = 0
        self._arrival: asyncio.Future[None] | None = None
        self._has_all = self._has_begun = self._is_begun = self._is_over = False
        self._written = 0
        # What is to begin, and what has.
        self._method: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = watch.timers.call_later(timeout, self._expire) if timeout is not None else None
        self.connection = connection
        # Whether it may stay open for long.
        self.stays = bool(handler.request_streaming or handler.response_streaming)
        # Of the message that is still to come.
        self._expected: int | None = None
        if not handler.request_streaming:
            self._expected = watch.admission.expect()
        else:
            self._start(handler.stream_stream or handler.stream_unary, None)

    def peer(self) -> str:
        return self.connection.peer

    # What arrives

    def receive(self, pieces: Sequence[memoryview]) -> None:
        try:
            for message in self._reader.read(pieces):
                self._messages.append(message)
                self._queued += message.size
        except BadMessage as bad:
            self._refuse(bad)
            return
        if self._handler.request_streaming:
            self._wake()
        elif len(self._messages) > 1:
            self.stop(_Code.INTERNAL, _ONE_MESSAGE)
        if self._arrival is not None or (self._reader.held and not self._messages):
            self._stream.grant(0)

    def ended(self) -> None:
        self._has_all = True
        if self._reader.held:
            self.stop(_Code.INTERNAL, "the call ends within a message")
        elif self._handler.request_streaming:
            self._wake()
        elif not self._messages:
            self.stop(_Code.INTERNAL, _ONE_MESSAGE)
        else:
            self._start_with(self._messages.popleft())

    def lost(self) -> None:
        if self._ends is not None and self._ends - time.monotonic() < _ON_THE_WAY_SECONDS:
            # The caller's clock began earlier than ours.
            self._code = _Code.DEADLINE_EXCEEDED
        self._close()
        self._cancel()

    async def read(self) -> Any:
        """The next message, EOF after the last."""
        while not self._messages:
            if self._has_all or self._is_over:
                return grpc.aio.EOF
            self._arrival = self._loop.create_future()
            self._stream.grant(0)
            try:
                await self._arrival
            finally:
                self._arrival = None
        message = self._messages.popleft()
        self._queued -= message.size
        self._stream.grant(self._queued + self._reader.held)
        try:
            content = self._reader.unpacked(message)
        except BadMessage as bad:
            self._refuse(bad)
            await asyncio.sleep(0)  # where its task is told that it is canceled
            return grpc.aio.EOF
        decode = self._handler.request_deserializer
        return decode(content) if decode else content

    def _start_with(self, message: Message) -> None:
        try:
            content = self._reader.unpacked(message)
        except BadMessage as bad:
            self._refuse(bad)
        else:
            self._start(self._handler.unary_stream or self._handler.unary_unary, content)

    def _wake(self) -> None:
        """Whoever waits for a message, if there is one, or will never be."""
        if self._arrival is not None and not self._arrival.done() and (self._messages or self._has_all or self._is_over):
            self._arrival.set_result(None)

    def _refuse(self, bad: BadMessage) -> None:
        self.stop(_Code.RESOURCE_EXHAUSTED if bad.is_too_large else _Code.INTERNAL, str(bad))

    # What is answered

    async def write(self, message: Any) -> None:
        await self._write(prefixed(self._encoded(message)))

    async def write_all(self, messages: Sequence[Any]) -> None:
        await self._write(b"".join([prefixed(self._encoded(message)) for message in messages]))

    async def _write(self, data: bytes) -> None:
        self._written += len(data) + PREFIX_SIZE
        if self._is_over or self._written >= _MUCH:
            self._written = 0
            await asyncio.sleep(0)  # others have their turn; and a task that is canceled is told so
        if self._is_over:
            return
        self._begin()
        self._stream.send(data)
        if self._stream.has_waiting:
            await self._stream.drained()

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        self._begin(initial_metadata)

    def stop(self, code: grpc.StatusCode, text: str) -> None:
        """Ends the call from outside its method; what it has written and could not be sent yet is given up."""
        self._code, self._text = code, text
        self._stream.drop_waiting()
        self._finish()
        self._cancel()

    def _begin(self, metadata: Any = ()) -> None:
        if not self._has_begun and not self._is_over:
            self._has_begun = True
            self._stream.begin(HEAD + encode(metadata_fields(metadata)) if metadata else HEAD)

    def _finish(self, message: bytes | None = None) -> None:
        """Sends the answer, if there is one, and the status."""
        if self._is_over:
            return
        trailer = self._trailer_block()
        self._is_over = True
        if message is not None and not self._has_begun:
            self._stream.answer(HEAD, prefixed(message), trailer)
        elif message is not None:
            self._stream.send(prefixed(message))
            self._stream.finish(trailer)
        else:
            self._stream.finish(trailer if self._has_begun else HEAD + trailer)
        if not self._stream.has_waiting:
            self._close()
        elif self._timer is None:
            self._timer = self._watch.timers.call_later(_MOST_SECONDS_TO_SEND, self._expire)

    def _trailer_block(self) -> bytes:
        try:
            block = encode(status_fields(self._number, self._text)) if self._code else OK_TRAILER
            return block + encode(metadata_fields(self._trailer)) if self._trailer else block
        except Exception:
            log.exception("a trailer that cannot be sent")
            self._code = _Code.INTERNAL
            return encode(status_fields(self._number, "the server has a trailer that cannot be sent"))

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
            self._timer = None

    def _expire(self) -> None:
        if not self._is_over:
            self.stop(_Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        elif self._stream.has_waiting:
            self._stream.reset(Code.CANCEL)

    # The method

    def _start(self, behaviour: Any, request: Any) -> None:
        self._arrive()
        self._method = partial(self._run, behaviour, self._handler.request_deserializer, request)
        self._watch.admission.schedule(self)

    def take_turn(self) -> bool:
        method, self._method = self._method, None
        if method is None:
            return False
        self._is_begun = False
        self._task = self._loop.create_task(method())
        return True

    def _begins(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self._watch.admission.begun()

    async def _run(self, behaviour: Any, decode: Any, request: Any) -> None:
        self._begins()
        try:
            arriving = behaviour(decode(request) if decode and request is not None else request, self)
            del request  # it may be large, and decoded meanwhile
            answer = await arriving
            self._finish(None if self._handler.response_streaming or self._number else self._encoded(answer))
        except grpc.aio.AbortError:
            self._finish()
        except asyncio.CancelledError:
            self._fail(_Code.CANCELLED, "the call was canceled")
        except Exception as error:
            log.exception("a method failed")
            self._fail(_Code.UNKNOWN, f"Unexpected {type(error)}: {error}")
        finally:
            self._end_method()

    def _fail(self, code: grpc.StatusCode, text: str) -> None:
        if not self._is_over:
            self._code, self._text = code, text
            self._finish()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._wake()
            if not self._is_begun:  # and never will be
                self._end_method()
        else:
            self._method = None
            self._arrive()
            self._watch.ended(self)

    def _arrive(self) -> None:
        """The message is there, or will never be."""
        if self._expected is not None:
            self._watch.admission.arrived(self._expected)
            self._expected = None

    def _end_method(self) -> None:
        self._task = None
        self._begins()
        self._fail(_Code.CANCELLED, "the call was canceled")  # where nothing else was said
        try:
            self.end()
        finally:
            self._watch.ended(self)


class WrongRequest:
    """Answers a request that is not gRPC, once it is all there."""

    def __init__(self, stream: Stream, status: int, text: str) -> None:
        self._stream = stream
        self._head = NO_TABLE + encode([(":status", str(status)), ("content-type", "text/plain; charset=utf-8")])
        self._text = text.encode() + b"\n"

    def receive(self, pieces: Sequence[memoryview]) -> None:
        self._stream.grant(0)

    def ended(self) -> None:
        self._stream.begin(self._head)
        self._stream.send(self._text)
        self._stream.finish()

    def lost(self) -> None:
        """Nothing is under way."""


class Refused(Exception):
    """A call that is not taken up. `block` is the whole answer."""

    def __init__(self, code: grpc.StatusCode, text: str, trailer: Trailer = ()) -> None:
        super().__init__(text)
        self.block = HEAD + encode([*status_fields(code.value[0], text), *metadata_fields(trailer)])

    def tell(self, stream: Stream) -> None:
        stream.finish(self.block)
