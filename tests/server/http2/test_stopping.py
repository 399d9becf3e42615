"""The end of the server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_client import SHAPES, Endless, channel_to, failure, handler, method
from http2_peer import (
    asynchronous,
    deaf,
    serving,
    serving_narrowly,
    settings,
    the_connection,
    unary,
    until,
    window_update,
)

from modelwire_server.http2.server import SHUTTING_DOWN, ServerRules

_Code = grpc.StatusCode


@asynchronous
async def test_a_server_that_stops_lets_calls_end() -> None:
    go, begun = asyncio.Event(), asyncio.Event()

    async def hold(message: bytes, context: Any) -> bytes:
        begun.set()
        await go.wait()
        return message

    async with serving(Hold=unary(hold)) as server, channel_to(server) as channel:
        call = method(channel, "Hold", "unary_unary")(b"held")
        await begun.wait()
        stop = asyncio.ensure_future(server.stop(5))
        code = _Code.OK
        while code is _Code.OK:  # as long as the client has not learned of it
            code = await method(channel, "Echo")(b"", timeout=2).code()
        assert code is _Code.UNAVAILABLE
        assert not stop.done()
        go.set()
        assert await call == b"held"
        await stop
        assert not server.has_connections


@pytest.mark.parametrize("shape", SHAPES.values())
@asynchronous
async def test_a_server_that_stops_cancels_what_does_not_end(shape: str) -> None:
    endless = Endless()
    async with serving(Wait=endless.handler(shape)) as server, channel_to(server) as channel:
        call = method(channel, "Wait", shape)(iter([b""]) if shape.startswith("stream") else b"")
        await endless.begun.wait()
        await server.stop(0.1)
        assert endless.canceled.is_set()
        caught = await failure(call)
        assert (caught.code(), caught.details()) == (_Code.UNAVAILABLE, SHUTTING_DOWN)


@asynchronous
async def test_a_server_without_connections_stops_at_once() -> None:
    loop = asyncio.get_running_loop()
    async with serving() as server:
        async with channel_to(server) as channel:
            await method(channel, "Echo")(b"")
        await until(lambda: not server.has_connections)
        began = loop.time()
        await server.stop(60)
        assert loop.time() - began < 30


@asynchronous
async def test_a_server_with_idle_connections_stops_soon() -> None:
    async with serving() as server, channel_to(server) as channel:
        await method(channel, "Echo")(b"")
        async with asyncio.timeout(5):
            await server.stop(60)


@asynchronous
async def test_a_caller_that_does_not_read_does_not_keep_the_server_from_stopping() -> None:
    async def flood(message: bytes, context: Any) -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)

    async with serving_narrowly(ServerRules(), Flood=handler("unary_stream", flood)) as server, deaf(server) as peer:
        peer.send(settings(initial_window_size=1 << 30), window_update(0, 1 << 30))
        peer.call("Flood")
        await until(lambda: server.has_connections and the_connection(server)._transport.get_write_buffer_size())
        async with asyncio.timeout(3):
            await server.stop(0.1)


@asynchronous
async def test_clients_connect_anew_when_a_server_leaves() -> None:
    """No call is lost between one server and the next."""
    async with serving() as old:
        port = old.port
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.initial_reconnect_backoff_ms", 100)])
        async with channel:
            assert await method(channel, "Echo")(b"old") == b"old"
            calls = [asyncio.ensure_future(asyncio.wait_for(method(channel, "Repeat")(b"1 1").read(), 5)) for _ in range(50)]
            await asyncio.sleep(0)
            old.leave()
            assert await asyncio.gather(*calls) == [bytes(1)] * 50
