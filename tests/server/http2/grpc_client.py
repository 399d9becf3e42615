"""What tests share that call by the clients of gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from http2_peer import (
    SERVICE,
)

from modelwire_server.http2.server import GrpcServer

SHAPES = {"Echo": "unary_unary", "Count": "stream_unary", "Repeat": "unary_stream", "Chat": "stream_stream"}
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@asynccontextmanager
async def channel_to(server: GrpcServer, **options: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=UNLIMITED, **options) as channel:
        yield channel


def method(channel: Any, name: str, shape: str | None = None) -> Any:
    return getattr(channel, shape or SHAPES[name])(f"/{SERVICE}/{name}")


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [one async for one in call] if hasattr(call, "__aiter__") else await call
    return caught.value


def handler(shape: str, behave: Any) -> Any:
    return getattr(grpc, f"{shape}_rpc_method_handler")(behave)


def failing(shape: str, fail: Any) -> Any:
    """A method that fails when it has read everything; if it streams answers, after the first."""

    async def read(requests: Any) -> None:
        if shape.startswith("stream"):
            _ = [one async for one in requests]

    async def one(requests: Any, context: Any) -> bytes:
        await read(requests)
        await fail(context)
        return b""

    async def several(requests: Any, context: Any) -> AsyncIterator[bytes]:
        await read(requests)
        yield b"first"
        await fail(context)

    return handler(shape, one if shape.endswith("unary") else several)


async def call_failing(channel: Any, shape: str) -> tuple[list[bytes], grpc.aio.AioRpcError]:
    """What came, and why no more did."""
    call = method(channel, "Fail", shape)(b"" if shape.startswith("unary") else iter([b"", b""]))
    came: list[bytes] = []

    async def take() -> None:
        if shape.endswith("unary"):
            await call
            return
        async for answer in call:
            came.append(answer)  # noqa: PERF401 what came before the failure counts

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await take()
    return came, caught.value


class Endless:
    """Methods that only end when they are canceled."""

    def __init__(self) -> None:
        self.begun, self.canceled = asyncio.Event(), asyncio.Event()
        self.codes: list[Any] = []

    async def wait(self, context: Any) -> None:
        self.begun.set()
        context.add_done_callback(lambda call: self.codes.append(call.code()))
        try:
            await asyncio.Event().wait()
        finally:
            self.canceled.set()

    def handler(self, shape: str) -> Any:
        return failing(shape, self.wait)
