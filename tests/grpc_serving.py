"""A gRPC server on a free port, for the handlers of a test."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from modelwire_server.http2.server import GrpcServer, ServerRules
from modelwire_server.interceptors.around import AroundCalls, Surrounded
from modelwire_server.ports import grpc_listeners


@asynccontextmanager
async def serving(find: Callable[[str], Any], rules: ServerRules | None = None, *, seconds: float = 0) -> AsyncIterator[GrpcServer]:
    """`seconds` is how long calls may take to end at the end."""
    server = GrpcServer(find, grpc_listeners("127.0.0.1", 0, share=False), rules or ServerRules())
    await server.start()
    try:
        yield server
    finally:
        await server.stop(seconds)


def methods(service: str, handlers: dict[str, Any], around: AroundCalls | None = None) -> Callable[[str], Any]:
    return found([grpc.method_handlers_generic_handler(service, handlers)], around)


def found(handlers: Iterable[Any], around: AroundCalls | None = None) -> Callable[[str], Any]:
    """Finds methods among generic handlers."""
    surrounded = Surrounded(around or AroundCalls())
    surrounded.add_generic_rpc_handlers(handlers)
    return surrounded.find
