"""Calls by the clients of gRPC, asynchronous and blocking."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_client import SHAPES, channel_to, failure, handler, method
from http2_peer import (
    asynchronous,
    serving,
    unary,
)
from structlog.testing import capture_logs

from modelwire_server.http2.server import ServerRules

BIG = 20 << 20
_Code = grpc.StatusCode


def check_all_shapes(channel: Any) -> None:
    """With a blocking channel."""
    assert method(channel, "Echo")(b"hello") == b"hello"
    assert method(channel, "Echo")(b"") == b""
    assert method(channel, "Count")(iter([b"a", b"", b"bcd"])) == b"4"
    assert method(channel, "Count")(iter([])) == b"0"
    assert list(method(channel, "Repeat")(b"3 2")) == [bytes(2)] * 3
    assert list(method(channel, "Repeat")(b"0 0")) == []
    assert list(method(channel, "Chat")(iter([b"a", b"", b"b"]))) == [b"a", b"", b"b"]
    assert list(method(channel, "Chat")(iter([]))) == []


COMPRESSIONS = [grpc.Compression.NoCompression, grpc.Compression.Deflate, grpc.Compression.Gzip]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@asynchronous
async def test_all_shapes(compression: grpc.Compression) -> None:
    async with serving() as server, channel_to(server, compression=compression) as channel:
        assert await method(channel, "Echo")(b"hello" * 1000) == b"hello" * 1000
        assert await method(channel, "Echo")(b"") == b""
        assert await method(channel, "Count")(iter([b"a", b"", b"bcd" * 1000])) == b"3001"
        assert await method(channel, "Count")(iter([])) == b"0"
        assert [one async for one in method(channel, "Repeat")(b"3 2")] == [bytes(2)] * 3
        assert [one async for one in method(channel, "Repeat")(b"0 0")] == []
        chat = [b"a", b"", b"b" * 5000]
        assert [one async for one in method(channel, "Chat")(iter(chat))] == chat
        assert [one async for one in method(channel, "Chat")(iter([]))] == []


@pytest.mark.parametrize("compression", COMPRESSIONS)
@asynchronous
async def test_all_shapes_of_the_blocking_client(compression: grpc.Compression) -> None:
    def call(port: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}", compression=compression) as channel:
            check_all_shapes(channel)

    async with serving() as server:
        await asyncio.to_thread(call, server.port)


@asynchronous
async def test_a_conversation_word_by_word() -> None:
    async with serving() as server, channel_to(server) as channel:
        chat = method(channel, "Chat")()
        for number in range(100):
            await chat.write(str(number).encode())
            assert await chat.read() == str(number).encode()
        await chat.done_writing()
        assert await chat.read() is grpc.aio.EOF
        assert await chat.code() is _Code.OK


@asynchronous
async def test_many_calls_at_once() -> None:
    async with serving() as server, channel_to(server) as channel:
        sent = [str(number).encode() * 10 for number in range(1000)]
        assert await asyncio.gather(*(method(channel, "Echo")(one) for one in sent)) == sent


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
@asynchronous
async def test_big_messages_both_ways(compression: grpc.Compression) -> None:
    rules = ServerRules(max_message_bytes=BIG)
    async with serving(rules) as server, channel_to(server, compression=compression) as channel:
        big = bytes(range(256)) * (BIG // 256)
        assert await method(channel, "Echo")(big) == big
        assert [one async for one in method(channel, "Chat")(iter([big]))] == [big]


@asynchronous
async def test_ten_thousand_small_messages_both_ways() -> None:
    async with serving() as server, channel_to(server) as channel:
        sent = [str(number).encode() for number in range(10_000)]
        assert [one async for one in method(channel, "Chat")(iter(sent))] == sent


@asynchronous
async def test_ten_thousand_small_messages_one_way() -> None:
    async with serving() as server, channel_to(server) as channel:
        assert await method(channel, "Count")(iter([b"12345"] * 10_000)) == b"50000"
        assert [one async for one in method(channel, "Repeat")(b"10000 5")] == [bytes(5)] * 10_000


# Headers and trailers


@asynchronous
async def test_a_method_knows_its_caller() -> None:
    seen: dict[str, Any] = {}

    async def look(message: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        seen.update(dict(context.invocation_metadata() or ()), peer=context.peer(), left=context.time_remaining())
        return b""

    async with serving(Look=unary(look)) as server, channel_to(server) as channel:
        await method(channel, "Look", "unary_unary")(b"", metadata=[("x-text", "a b"), ("x-data-bin", b"\0\xff")], timeout=100)
    assert (seen["x-text"], seen["x-data-bin"]) == ("a b", b"\0\xff")
    assert seen["user-agent"].startswith("grpc-python")
    assert seen["peer"].startswith("ipv4:127.0.0.1:")
    assert 95 < seen["left"] <= 100


@pytest.mark.parametrize("shape", SHAPES.values())
@asynchronous
async def test_metadata_before_and_after_the_answer(shape: str) -> None:
    first, last = [("x-first", "1"), ("x-first-bin", b"\0\1")], [("x-last", "2"), ("x-last-bin", b"\xff" * 100)]

    async def prepare(context: Any) -> None:
        await context.send_initial_metadata(first)
        context.set_trailing_metadata(last)

    async def one(_: Any, context: Any) -> bytes:
        await prepare(context)
        return b"answer"

    async def several(_: Any, context: Any) -> AsyncIterator[bytes]:
        await prepare(context)
        yield b"answer"

    tell = handler(shape, one if shape.endswith("unary") else several)
    async with serving(Tell=tell) as server, channel_to(server) as channel:
        call = method(channel, "Tell", shape)(b"" if shape.startswith("unary") else iter([b""]))
        assert await call == b"answer" if shape.endswith("unary") else [answer async for answer in call] == [b"answer"]
        assert set(map(tuple, await call.initial_metadata())) >= set(first)
        assert list(map(tuple, await call.trailing_metadata())) == last
        assert await call.code() is _Code.OK


@asynchronous
async def test_metadata_are_there_before_the_answer() -> None:
    go = asyncio.Event()

    async def tell(messages: Any, context: Any) -> AsyncIterator[bytes]:
        await context.send_initial_metadata([("x-first", "1")])
        await go.wait()
        yield b"answer"

    async with serving(Tell=handler("unary_stream", tell)) as server, channel_to(server) as channel:
        call = method(channel, "Tell", "unary_stream")(b"")
        assert ("x-first", "1") in list(map(tuple, await call.initial_metadata()))
        go.set()
        assert [answer async for answer in call] == [b"answer"]


@asynchronous
async def test_metadata_that_are_too_large_are_the_callers_problem() -> None:
    async with serving() as server, channel_to(server) as channel:
        caught = await failure(method(channel, "Echo")(b"", metadata=[("x", "y" * 100_000)]))
        assert caught.code() is _Code.RESOURCE_EXHAUSTED
        assert await method(channel, "Echo")(b"hello") == b"hello"
        assert len(server._connections) == 1


@pytest.mark.parametrize("trailer", [("x-text", "→"), ("x-text", 7)], ids=["a strange character", "a number"])
@asynchronous
async def test_a_trailer_that_cannot_be_sent_is_a_failure_of_the_method(trailer: Any) -> None:
    async def tell(message: bytes, context: Any) -> bytes:
        context.set_trailing_metadata([trailer])
        return b""

    async with serving(Tell=unary(tell)) as server, channel_to(server) as channel:
        with capture_logs():
            caught = await failure(method(channel, "Tell", "unary_unary")(b"", timeout=2))
        assert caught.code() in (_Code.UNKNOWN, _Code.INTERNAL)


@pytest.mark.parametrize("shape", SHAPES.values())
@asynchronous
async def test_an_answer_that_is_no_message_is_a_failure_of_the_method(shape: str) -> None:
    async def one(_: Any, context: Any) -> Any:
        return None

    async def several(_: Any, context: Any) -> AsyncIterator[Any]:
        yield None

    make = getattr(grpc, f"{shape}_rpc_method_handler")
    tell = make(one if shape.endswith("unary") else several, response_serializer=bytes.hex)
    async with serving(Tell=tell) as server, channel_to(server) as channel:
        with capture_logs():
            caught = await failure(method(channel, "Tell", shape)(iter([b""]) if shape.startswith("stream") else b"", timeout=2))
        assert caught.code() in (_Code.UNKNOWN, _Code.INTERNAL)
