"""Calls of the services in this process: no socket, no serialization, and the same interceptors around them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, cast

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from ..interceptors.around import AroundCalls, Surrounded
from ..interceptors.context import CallContext, Trailer
from .calls import CallFailed, Requests, Sending, Sent
from .methods import call_path

Handler = Any  # grpc.RpcMethodHandler, whose attributes the stubs do not know
_Code = grpc.StatusCode
SHUTTING_DOWN = "the server is shutting down"


class Registered:
    """Stands for a server where services are registered: it passes them on, and keeps their handlers for calls from inside."""

    def __init__(self, surrounded: Surrounded) -> None:
        self._surrounded = surrounded
        self.handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        self._surrounded.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """The same handlers once more, by their names."""
        self.handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}


class InsideCalls:
    """Calls handlers in tasks of their own, each with a context as gRPC's server would make it."""

    def __init__(self, handlers: Mapping[str, Handler], around: AroundCalls) -> None:
        self._plain = handlers
        self._around = around
        self._surrounded: dict[str, Handler] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._open = True

    async def drain(self, seconds: float) -> None:
        """Gives the calls under way so much time to end, then cancels them; there will be no others."""
        self._open = False
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def unary(self, rpc: MethodDescriptor, requests: Requests, sending: Sending) -> Message:
        call = await self._begin(rpc, requests, sending, _refuse)
        try:
            await asyncio.wait({call.task}, timeout=sending.timeout)
            return cast("Message", self._outcome(call))
        finally:
            call.task.cancel()

    async def stream(self, rpc: MethodDescriptor, requests: Requests, sending: Sending) -> AsyncGenerator[Message, None]:
        pipe = _Pipe()
        call = await self._begin(rpc, requests, sending, pipe.put)
        call.task.add_done_callback(lambda _: pipe.close())
        timer = None if sending.timeout is None else asyncio.get_running_loop().call_later(sending.timeout, pipe.close)
        try:
            while (message := await pipe.get()) is not None:
                yield message
            self._outcome(call)
        finally:
            if timer is not None:
                timer.cancel()
            call.task.cancel()

    async def _begin(self, rpc: MethodDescriptor, requests: Requests, sending: Sending, write: Any) -> "_Call":
        if not self._open:
            raise CallFailed(_Code.UNAVAILABLE, SHUTTING_DOWN)
        path = call_path(rpc)
        handler = self._surrounded.get(path) or self._surround(path)
        behaviour: Callable[[Any, Any], Coroutine[Any, Any, Any]] = getattr(handler, _shape(handler))
        sent = requests if isinstance(requests, Message) else Sent(requests)
        messages: Any = sent if isinstance(sent, Message) else aiter(sent)
        if _reads_bytes(self._plain[path]):
            messages, write = _as_bytes(messages), _from_bytes(write, GetMessageClass(rpc.output_type))
        context = InsideContext(sending, write, None if isinstance(messages, Message) else messages)
        task = asyncio.create_task(behaviour(messages, context), name=path)
        task.add_done_callback(context.end)
        self._running.add(task)  # one that was told to stop may need a while
        task.add_done_callback(self._running.discard)
        return _Call(task, context, None if isinstance(sent, Message) else sent)

    def _outcome(self, call: "_Call") -> Any:
        """As the call's own outcome; what was canceled because the server ends was not canceled by its caller."""
        try:
            return call.outcome()
        except CallFailed as failure:
            if failure.code is _Code.CANCELLED and not self._open:
                raise CallFailed(_Code.UNAVAILABLE, SHUTTING_DOWN) from None
            raise

    def _surround(self, path: str) -> Handler:
        """The handler for messages instead of bytes."""
        if (plain := self._plain.get(path)) is None:
            raise CallFailed(_Code.UNIMPLEMENTED, f"there is no method {path}")
        make = getattr(grpc, f"{_shape(plain)}_rpc_method_handler")
        self._surrounded[path] = self._around.surround(path, make(getattr(plain, _shape(plain))))
        return self._surrounded[path]


class _Call:
    def __init__(self, task: "asyncio.Task[Any]", context: "InsideContext", sent: Sent | None) -> None:
        self.task = task
        self.context = context
        self._sent = sent

    def outcome(self) -> Any:
        """What the method returned. Raises CallFailed, or the error of the stream of requests."""
        if self._sent is not None and self._sent.error is not None:
            raise self._sent.error
        if not self.task.done():
            raise CallFailed(_Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        if self.context.ending is not None:
            raise CallFailed.of(*self.context.ending)
        if self.task.cancelled():
            raise CallFailed(_Code.CANCELLED, "the call was canceled")
        if (error := self.task.exception()) is not None:
            raise CallFailed(_Code.UNKNOWN, f"Unexpected {type(error)}: {error}")
        return self.task.result()


def _shape(handler: Handler) -> str:
    words = {False: "unary", True: "stream"}
    return f"{words[handler.request_streaming]}_{words[handler.response_streaming]}"


def _reads_bytes(handler: Handler) -> bool:
    """Whether a method reads and writes its messages by itself, as bytes: PredictStream does."""
    return handler.request_streaming and handler.request_deserializer is None


async def _as_bytes(messages: AsyncIterator[Message]) -> AsyncIterator[bytes]:
    async for message in messages:
        yield message.SerializeToString()


def _from_bytes(write: Any, kind: type[Message]) -> Callable[[bytes], Awaitable[None]]:
    def parsed(data: bytes) -> Awaitable[None]:
        answer: Awaitable[None] = write(kind.FromString(data))
        return answer

    return parsed


async def _refuse(message: Message) -> None:
    raise grpc.aio.UsageError("a method with one answer returns it")


class _Pipe:
    """Hands messages over, one at a time: who writes waits until the one before is taken."""

    def __init__(self) -> None:
        self._message: Message | None = None
        self._closed = False
        self._there, self._taken = asyncio.Event(), asyncio.Event()

    async def put(self, message: Message) -> None:
        while self._message is not None:
            self._taken.clear()
            await self._taken.wait()
        self._message = message
        self._there.set()

    async def get(self) -> Message | None:
        """The next message; None after the last."""
        while self._message is None:
            if self._closed:
                return None
            self._there.clear()
            await self._there.wait()
        message, self._message = self._message, None
        self._taken.set()
        return message

    def close(self) -> None:
        self._closed = True
        self._there.set()


class InsideContext(CallContext):
    """The context of a call without a connection."""

    def __init__(self, sending: Sending, write: Callable[[Any], Awaitable[None]], messages: AsyncIterator[Any] | None) -> None:
        """`messages` are None for a method that takes one."""
        super().__init__(sending.metadata, sending.timeout)
        self._peer = sending.peer
        self._write = write
        self._messages = messages
        # Not the error itself: its traceback would refer to this, and the two would stay in memory with the message.
        self.ending: tuple[grpc.StatusCode, str, Trailer] | None = None

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> Any:
        self.ending = code, details, tuple(trailing_metadata or self._trailer)
        await super().abort(*self.ending)

    async def write(self, message: Any) -> None:
        await self._write(message)

    async def read(self) -> Any:
        if self._messages is None:
            raise grpc.aio.UsageError("the call has one message")
        return await anext(self._messages, grpc.aio.EOF)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """There is no place where it could go."""

    def peer(self) -> str:
        return self._peer
