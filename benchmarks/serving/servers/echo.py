"""A server of asyncio gRPC that does nothing: every message is its own answer. `python echo.py <port>`."""

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc


async def unary(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
    return request


async def stream(requests: AsyncIterator[bytes], _: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def main() -> None:
    server = grpc.aio.server()
    methods = {"Unary": grpc.unary_unary_rpc_method_handler(unary), "Stream": grpc.stream_stream_rpc_method_handler(stream)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Echo", methods)])
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    await server.wait_for_termination()


asyncio.run(main())
