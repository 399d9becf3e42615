"""Code around every call, whatever its shape: unary or streaming, either way."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Self, cast

import grpc

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Any]
# Does a call from its request, or the iterator of its requests, to its answer; of methods that stream answers to their end.
Act = Callable[[Any, Context], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the contract. `streams` tells whether messages stream in either direction."""

    service: str
    name: str
    streams: bool

    @property
    def path(self) -> str:
        return f"{self.service}/{self.name}"


# Makes of what does the calls of a method something that does more. Asked once per method, so that calls cost no preparation.
Around = Callable[[Method, Act], Act]


def time_left(context: Context) -> float | None:
    """Seconds until the call's deadline; None without one, which the stubs do not know of."""
    return cast("float | None", context.time_remaining())


class AroundCalls:
    """Puts code around the calls of methods, the first one outermost."""

    def __init__(self, *arounds: Around) -> None:
        self._arounds = arounds

    def surround(self, path: str, handler: Any) -> Any:
        """The handler of a method with the code around it."""
        service, _, name = path.removeprefix("/").partition("/")
        method = Method(service, name, handler.request_streaming or handler.response_streaming)
        shape = f"{_word(handler.request_streaming)}_{_word(handler.response_streaming)}"
        # Decoded inside, so that a message that cannot be is told as all else that is wrong.
        decode = None if handler.request_streaming else handler.request_deserializer
        act = _act(getattr(handler, shape), decode, streams_answers=handler.response_streaming)
        if handler.request_streaming:
            act = _reading(act)
        for around in reversed(self._arounds):
            act = around(method, act)
        act = _forgetting(act)
        make = getattr(grpc, f"{shape}_rpc_method_handler")
        return make(act, Undecoded if decode else handler.request_deserializer, handler.response_serializer)


class Surrounded:
    """The methods of a server, with code around their calls."""

    def __init__(self, around: AroundCalls) -> None:
        self._around = around
        self._plain: list[Any] = []
        self._known: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        self._plain.extend(handlers)

    def find(self, path: str) -> Any:
        """The handler of a method; None where there is none."""
        return self._known.get(path) or self._found(path)

    def _found(self, path: str) -> Any:
        """A stranger's path is not remembered."""
        for plain in self._plain:
            if (handler := plain.service(_Details(path))) is not None:
                return self._known.setdefault(path, self._around.surround(path, handler))
        return None


class _Details(grpc.HandlerCallDetails):
    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


class Undecoded:
    """A message as it came. Whoever decodes it takes it: all who hand it on would keep its bytes in memory beside what they say."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes | bytearray) -> None:
        self._content = content

    def take(self) -> bytes | bytearray:
        content, self._content = self._content, b""
        return content


def _word(streaming: bool) -> str:
    return "stream" if streaming else "unary"


def _act(behaviour: Behaviour, decode: Callable[[bytes | bytearray], Any] | None, *, streams_answers: bool) -> Act:
    """The innermost part of a call: the method itself."""
    act = _writing(behaviour) if streams_answers else behaviour
    if decode is None:
        return act
    decoded = decode

    async def decoding(request: Undecoded, context: Context) -> Any:
        return await act(decoded(request.take()), context)

    return decoding


class Messages:
    """The messages of a caller, one after the other."""

    __slots__ = ("_read",)

    def __init__(self, context: Context) -> None:
        self._read = context.read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        message = await self._read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return message


def _reading(act: Act) -> Act:
    async def reading(_: Any, context: Context) -> Any:
        return await act(Messages(context), context)

    return reading


def _forgetting(act: Act) -> Act:
    """The outermost part. A task keeps the error that ended it, and a traceback keeps what its frames held, the message and the call
    included: a circle that takes memory until the collector comes by, which it does rarely here. Other errors are faults, of which is
    logged where they come from."""

    async def forgetting(request: Any, context: Context) -> Any:
        try:
            return await act(request, context)
        except (asyncio.CancelledError, grpc.aio.BaseError) as error:
            del request, context
            error.__traceback__ = error.__context__ = None
            raise

    return forgetting


def _writing(behaviour: Behaviour) -> Act:
    """Writes what a method yields. The generator is closed before the call is over, so that its `finally` blocks run in time, also
    when the caller has left."""

    async def write_all(request: Any, context: Context) -> None:
        answers = behaviour(request, context)
        if inspect.isawaitable(answers):  # the method writes by itself
            await answers
            return
        async with aclosing(answers):
            async for answer in answers:
                await context.write(answer)

    return write_all
