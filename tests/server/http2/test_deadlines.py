"""Calls that end before their method does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_client import SHAPES, Endless, call_failing, channel_to, failing, failure, handler, method
from http2_peer import (
    asynchronous,
    connected,
    request,
    serving,
    until,
)

_Code = grpc.StatusCode


@pytest.mark.parametrize("shape", SHAPES.values())
@asynchronous
async def test_deadlines(shape: str) -> None:
    endless = Endless()
    async with serving(Wait=endless.handler(shape)) as server, channel_to(server) as channel:
        while not endless.begun.is_set():  # on a busy machine the deadline may pass before the call is there
            sent = iter([b""]) if shape.startswith("stream") else b""
            caught = await failure(method(channel, "Wait", shape)(sent, timeout=0.1))
            assert caught.code() is _Code.DEADLINE_EXCEEDED
        await endless.canceled.wait()
        await until(lambda: not server._calls)
        assert endless.codes == [_Code.DEADLINE_EXCEEDED]


@pytest.mark.parametrize("path", ["Wait", "Echo"])
@asynchronous
async def test_the_server_ends_calls_at_their_deadline_by_itself(path: str) -> None:
    """Also one whose message has not arrived."""
    endless = Endless()
    async with serving(Wait=endless.handler("stream_stream")) as server, connected(server) as peer:
        stream = peer.open(request(path, grpc_timeout="50m"))
        answer = await peer.answer(stream)
        assert answer.status == _Code.DEADLINE_EXCEEDED.value[0]
        await until(lambda: not server._calls)


@pytest.mark.parametrize("shape", SHAPES.values())
@asynchronous
async def test_the_caller_cancels(shape: str) -> None:
    endless = Endless()
    async with serving(Wait=endless.handler(shape)) as server, channel_to(server) as channel:
        call = method(channel, "Wait", shape)(iter([b""]) if shape.startswith("stream") else b"")
        await endless.begun.wait() if shape.endswith("unary") else await call.read()
        call.cancel()
        await endless.canceled.wait()
        await until(lambda: not server._calls)
        assert await method(channel, "Echo")(b"hello") == b"hello"


@pytest.mark.parametrize("shape", SHAPES.values())
@asynchronous
async def test_the_method_is_canceled_by_itself(shape: str) -> None:
    async def give_up(context: Any) -> None:
        raise asyncio.CancelledError

    async with serving(Fail=failing(shape, give_up)) as server, channel_to(server) as channel:
        _, error = await call_failing(channel, shape)
        assert error.code() is _Code.CANCELLED
        assert await method(channel, "Echo")(b"hello") == b"hello"


@asynchronous
async def test_a_method_that_leaves_early_ends_the_stream_of_its_caller() -> None:
    async def two(messages: Any, context: Any) -> bytes:
        seen = 0
        async for _ in messages:
            seen += 1
            if seen == 2:
                break
        return b"two"

    async def requests() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)

    async with serving(Two=handler("stream_unary", two)) as server, channel_to(server) as channel:
        assert await method(channel, "Two", "stream_unary")(requests()) == b"two"
        await until(lambda: not server._calls)
        assert await method(channel, "Echo")(b"hello") == b"hello"


@asynchronous
async def test_the_generator_of_a_method_is_closed_when_the_caller_leaves() -> None:
    closed = asyncio.Event()

    async def flood(message: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1000)
        finally:
            closed.set()

    async with serving(Flood=handler("unary_stream", flood)) as server, channel_to(server) as channel:
        call = method(channel, "Flood", "unary_stream")(b"")
        assert await call.read() == bytes(1000)
        call.cancel()
        await closed.wait()
        await until(lambda: not server._calls)
