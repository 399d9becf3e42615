"""How many calls there may be."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_client import SHAPES, channel_to, failure, handler, method
from http2_peer import (
    asynchronous,
    serving,
    unary,
    until,
)

from modelwire_server.http2.calls import Refused
from modelwire_server.http2.rules import ConnectionRules
from modelwire_server.http2.server import ServerRules

_Code = grpc.StatusCode


@asynchronous
async def test_as_many_calls_as_are_allowed() -> None:
    go, under_way = asyncio.Event(), 0

    async def hold(message: bytes, context: Any) -> bytes:
        nonlocal under_way
        under_way += 1
        await go.wait()
        return message

    async with serving(ServerRules(max_concurrent_rpcs=3), Hold=unary(hold)) as server, channel_to(server) as channel:
        held = [asyncio.ensure_future(asyncio.wait_for(method(channel, "Hold", "unary_unary")(b"held"), 5)) for _ in range(3)]
        await until(lambda: under_way == 3)
        for name, shape in SHAPES.items():
            caught = await failure(method(channel, name)(iter([]) if shape.startswith("stream") else b"1 1"))
            assert caught.code() is _Code.RESOURCE_EXHAUSTED
        go.set()
        assert await asyncio.gather(*held) == [b"held"] * 3
        assert await method(channel, "Echo")(b"hello") == b"hello"


@asynchronous
async def test_calls_that_find_too_many_before_them_are_refused_and_streams_are_not() -> None:
    refused = Refused(_Code.RESOURCE_EXHAUSTED, "full", (("x-why-bin", b"\0\1"),))
    async with serving(ServerRules(max_pending=0, busy=refused)) as server, channel_to(server) as channel:
        caught = await failure(method(channel, "Echo")(b"hello"))
        assert (caught.code(), caught.details()) == (_Code.RESOURCE_EXHAUSTED, "full")
        assert dict(caught.trailing_metadata())["x-why-bin"] == b"\0\1"
        assert await method(channel, "Repeat")(b"1 1").read() == bytes(1)
        assert (await failure(method(channel, "Nothing", "unary_unary")(b""))).code() is _Code.UNIMPLEMENTED


@asynchronous
async def test_streams_that_stay_open_leave_room_for_others() -> None:
    go, under_way = asyncio.Event(), 0

    async def stay(message: bytes, context: Any) -> AsyncIterator[bytes]:
        nonlocal under_way
        under_way += 1
        yield message
        await go.wait()

    rules = ServerRules(connection=ConnectionRules(max_streams=10, max_open=100))
    async with serving(rules, Stay=handler("unary_stream", stay)) as server, channel_to(server) as channel:
        stays = [method(channel, "Stay", "unary_stream")(b"x") for _ in range(80)]
        await until(lambda: under_way == 80)
        assert await method(channel, "Echo")(b"hello") == b"hello"
        go.set()
        assert [len([answer async for answer in one]) for one in stays] == [1] * 80
