"""Code around every call, whatever its shape: unary or streaming, either way."""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any, cast

import grpc

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method. `streams` tells whether messages stream in either direction."""

    service: str
    method: str
    streams: bool
    context: Context

    @property
    def path(self) -> str:
        return f"{self.service}/{self.method}"


# Enters before the method runs and leaves after it; may replace the exception that the method raised.
Around = Callable[[Call], AbstractAsyncContextManager[None]]


def time_left(context: Context) -> float | None:
    """Seconds until the call's deadline; None without one, which the stubs do not know of."""
    return cast("float | None", context.time_remaining())


class AroundCalls(grpc.aio.ServerInterceptor):
    """Puts context managers around every call of a known method, the first one outermost."""

    def __init__(self, *arounds: Around) -> None:
        self._arounds = arounds
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        path = handler_call_details.method
        if known := self._handlers.get(path):
            return known
        handler = await continuation(handler_call_details)
        if handler is None:  # grpc answers UNIMPLEMENTED; a stranger's path is not to be remembered
            return None
        self._handlers[path] = self._surround(path, handler)
        return self._handlers[path]

    def _surround(self, path: str, handler: Any) -> Any:
        service, _, method = path.removeprefix("/").partition("/")
        streams = handler.request_streaming or handler.response_streaming
        shape = f"{_word(handler.request_streaming)}_{_word(handler.response_streaming)}"
        behaviour: Behaviour = getattr(handler, shape)
        act = _write_all if handler.response_streaming else _answer
        # grpc would answer UNKNOWN to a message that cannot be decoded, before anything of ours runs.
        decode = None if handler.request_streaming else handler.request_deserializer

        async def surrounded(request: Any, context: Context) -> Any:
            call = Call(service, method, streams, context)
            async with AsyncExitStack() as stack:
                for around in self._arounds:
                    await stack.enter_async_context(around(call))
                return await act(behaviour, decode(request) if decode else request, context)

        make = getattr(grpc, f"{shape}_rpc_method_handler")
        return make(surrounded, None if decode else handler.request_deserializer, handler.response_serializer)


def _word(streaming: bool) -> str:
    return "stream" if streaming else "unary"


async def _answer(behaviour: Behaviour, request: Any, context: Context) -> Any:
    return await behaviour(request, context)


async def _write_all(behaviour: Behaviour, request: Any, context: Context) -> None:
    """Writes what a method yields. The generator is closed before the call is over, so that its `finally` blocks run in time, also
    when the caller has left."""
    answers = behaviour(request, context)
    if inspect.isawaitable(answers):  # the method writes by itself
        await answers
        return
    async with aclosing(answers):
        async for answer in answers:
            await context.write(answer)
