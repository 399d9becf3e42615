"""Calls by the clients of gRPC, asynchronous and blocking."""

import asyncio
import contextlib
import gc
import gzip
import struct
import tracemalloc
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from http2_peer import (
    CANCEL,
    SERVICE,
    Peer,
    asynchronous,
    connected,
    data,
    deaf,
    message,
    request,
    serving,
    serving_narrowly,
    settings,
    the_connection,
    unary,
    until,
    window_update,
)
from hyperframe.frame import RstStreamFrame
from structlog.testing import capture_logs

from modelwire_server.http2.calls import Refused
from modelwire_server.http2.rules import ConnectionRules
from modelwire_server.http2.server import SHUTTING_DOWN, GrpcServer, ServerRules

SHAPES = {"Echo": "unary_unary", "Count": "stream_unary", "Repeat": "unary_stream", "Chat": "stream_stream"}
BIG = 20 << 20
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
_Code = grpc.StatusCode


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


# Failures


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


@pytest.mark.parametrize("shape", SHAPES.values())
@asynchronous
async def test_a_method_that_aborts(shape: str) -> None:
    async def abort(context: Any) -> None:
        await context.abort(_Code.ABORTED, "no, 100 % ü", [("x-why-bin", b"\0"), ("x-why", "because")])

    async with serving(Fail=failing(shape, abort)) as server, channel_to(server) as channel:
        came, error = await call_failing(channel, shape)
        assert came == ([] if shape.endswith("unary") else [b"first"])
        assert (error.code(), error.details()) == (_Code.ABORTED, "no, 100 % ü")
        assert list(map(tuple, error.trailing_metadata())) == [("x-why-bin", b"\0"), ("x-why", "because")]


@pytest.mark.parametrize("shape", SHAPES.values())
@asynchronous
async def test_a_method_that_raises(shape: str) -> None:
    async def fall(context: Any) -> None:
        raise KeyError("a key")

    async with serving(Fail=failing(shape, fall)) as server, channel_to(server) as channel:
        with capture_logs() as logs:
            came, error = await call_failing(channel, shape)
        assert came == ([] if shape.endswith("unary") else [b"first"])
        assert error.code() is _Code.UNKNOWN
        assert "a key" in error.details()
        assert [entry["event"] for entry in logs] == ["a method failed"]
        assert await method(channel, "Echo")(b"hello") == b"hello"


@asynchronous
async def test_a_method_that_sets_its_status() -> None:
    async def fail(message: bytes, context: Any) -> bytes:
        context.set_code(_Code.DATA_LOSS)
        context.set_details("gone")
        return b"not sent"

    async with serving(Fail=unary(fail)) as server, channel_to(server) as channel:
        caught = await failure(method(channel, "Fail", "unary_unary")(b""))
        assert (caught.code(), caught.details()) == (_Code.DATA_LOSS, "gone")


@pytest.mark.parametrize("path", [f"/{SERVICE}/Nothing", "/nobody.v1.Nobody/Nothing", "/", "/" + "long" * 1000])
@asynchronous
async def test_methods_that_there_are_not(path: str) -> None:
    def call(port: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for shape in SHAPES.values():
                running = getattr(channel, shape)(path)
                with pytest.raises(grpc.RpcError) as caught:
                    list(running(iter([b"x"] * 3) if shape.startswith("stream") else b"x"))
                assert caught.value.code() is _Code.UNIMPLEMENTED
                assert path[:100] in caught.value.details()

    async with serving() as server:
        await asyncio.to_thread(call, server.port)


@asynchronous
async def test_callers_that_are_still_sending_are_told_why_a_call_ends() -> None:
    """The asynchronous client takes an end between two of its messages for a failure of its own, which it does not tell from others."""

    async def refuse(messages: Any, context: Any) -> bytes:
        await context.abort(_Code.ABORTED, "no")
        return b""

    async with serving(Refuse=handler("stream_unary", refuse)) as server:
        codes = set()
        for name in ["Refuse", "Nothing"] * 20:
            async with channel_to(server) as channel:
                codes.add((name, (await failure(method(channel, name, "stream_unary")(iter([b"x" * 1000] * 3)))).code()))
        assert codes == {("Refuse", _Code.ABORTED), ("Nothing", _Code.UNIMPLEMENTED)}


@pytest.mark.parametrize("shape", SHAPES.values())
@asynchronous
async def test_messages_that_are_too_large(shape: str) -> None:
    name = next(name for name, its in SHAPES.items() if its == shape)
    async with serving(ServerRules(max_message_bytes=1000)) as server, channel_to(server) as channel:
        for size, compression in ((1001, None), (1 << 20, None), (1 << 20, grpc.Compression.Gzip)):
            sent = bytes(size)
            call = method(channel, name)(iter([sent]) if shape.startswith("stream") else sent, compression=compression)
            caught = await failure(call)
            assert caught.code() is _Code.RESOURCE_EXHAUSTED
            assert "larger than max" in caught.details()
        assert await method(channel, "Echo")(bytes(1000)) == bytes(1000)
        assert len(server._connections) == 1


@pytest.mark.parametrize(
    ("content", "encoding", "code"),
    [
        pytest.param(b"", "identity", _Code.INTERNAL, id="no message"),
        pytest.param(message(b"a") * 2, "identity", _Code.INTERNAL, id="two messages"),
        pytest.param(message(b"abc")[:6], "identity", _Code.INTERNAL, id="half a message"),
        pytest.param(b"\0\0", "identity", _Code.INTERNAL, id="half a prefix"),
        pytest.param(message(b"abc", 2), "identity", _Code.INTERNAL, id="a prefix that there is not"),
        pytest.param(message(b"abc", 1), "identity", _Code.INTERNAL, id="compressed, nobody says how"),
        pytest.param(message(b"abc", 1), "gzip", _Code.INTERNAL, id="not compressed at all"),
        pytest.param(message(b"abc", 0), "snappy", _Code.UNIMPLEMENTED, id="an unknown compression"),
    ],
)
@asynchronous
async def test_what_no_client_of_grpc_sends(content: bytes, encoding: str, code: grpc.StatusCode) -> None:
    async with serving() as server, connected(server) as peer:
        stream = peer.open(request(grpc_encoding=encoding), content, end=True)
        assert (await peer.answer(stream)).status == code.value[0]
        assert (await peer.answer(peer.call())).status == 0


@pytest.mark.parametrize("timeout", ["", "1", "soon", "123456789S", "-1S"])
@asynchronous
async def test_timeouts_that_there_are_not(timeout: str) -> None:
    async with serving() as server, connected(server) as peer:
        answer = await peer.answer(peer.call(request(grpc_timeout=timeout)))
        assert answer.status == _Code.INTERNAL.value[0]


# Deadlines and cancellation


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


@pytest.mark.parametrize("shape", SHAPES.values())
@asynchronous
async def test_deadlines(shape: str) -> None:
    endless = Endless()
    async with serving(Wait=endless.handler(shape)) as server, channel_to(server) as channel:
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


# The end of the server


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
        assert loop.time() - began < 1


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


# Memory


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@asynchronous
async def test_no_call_and_no_connection_is_kept_when_it_is_over() -> None:
    """Nothing here waits for the collector, which would come by rarely."""
    seen: list[weakref.ref[Any]] = []

    async def notice(context: Any) -> None:
        seen.append(weakref.ref(context))

    async def abort(context: Any) -> None:
        await notice(context)
        await context.abort(_Code.ABORTED, "no")

    async def fall(context: Any) -> None:
        await notice(context)
        raise KeyError("a key")

    async def wait(context: Any) -> None:
        await notice(context)
        await asyncio.Event().wait()

    ways = {"Notice": notice, "Abort": abort, "Fall": fall, "Wait": wait}
    handlers = {f"{name}_{shape}": failing(shape, way) for name, way in ways.items() for shape in SHAPES.values()}
    with no_collector(), capture_logs():
        async with serving(**handlers) as server:
            async with connected(server) as peer:
                await peer.barrier()
                seen.append(weakref.ref(the_connection(server)))
                await end_in_all_ways(peer, seen)
                for name in ["Notice", "Abort", "Fall"]:
                    for shape in SHAPES.values():
                        await peer.answer(peer.call(f"{name}_{shape}"))
                await until(lambda: not server._calls)
                assert len(seen) == 1 + 4 * 5
                await until(lambda: sum(one() is not None for one in seen) == 1)
            await until(lambda: not server.has_connections)
            # A stream whose caller has not ended it is remembered for a second.
            await until(lambda: seen[0]() is None)


async def end_in_all_ways(peer: Peer, seen: list[weakref.ref[Any]]) -> None:
    for shape in SHAPES.values():
        path, before = f"Wait_{shape}", len(seen)
        await peer.answer(peer.call(request(path, grpc_timeout="30m")))
        stream = peer.call(path)
        await until(lambda before=before: len(seen) == before + 2)
        peer.send(RstStreamFrame(stream, CANCEL))
        for content in (message(bytes(5 << 20))[:20], message(b"abc", 7), message(b"abc")[:3]):
            await peer.answer(peer.open(path, content, end=True))
        await peer.answer(peer.open(request(path, grpc_timeout="30m"), message(b"abc")[:3]))
        await peer.answer(peer.call("Nothing"))
        await peer.answer(peer.call(request(path, content_type="text/plain")))


@asynchronous
async def test_no_message_is_kept_when_its_call_is_over() -> None:
    async with serving() as server, channel_to(server) as channel:
        await method(channel, "Echo")(bytes(1000))
        with no_collector():
            tracemalloc.start()
            try:
                for _ in range(10):
                    await method(channel, "Echo")(bytes(1 << 20))
                await until(lambda: not server._calls)
                await asyncio.sleep(0)
                kept, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert kept < 3 << 20


@asynchronous
async def test_compressed_messages_that_wait_take_no_more_than_they_were_sent_with() -> None:
    """Else a window of small bombs fills the memory, while no message by itself is too large."""
    begun = asyncio.Event()

    async def slow(messages: Any, context: Any) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    rules = ServerRules(max_message_bytes=1 << 20, connection=ConnectionRules(stream_window=1 << 20))
    async with serving(rules, Slow=handler("stream_unary", slow)) as server, connected(server) as peer:
        bomb = gzip.compress(bytes(1 << 20))
        stream = peer.open(request("Slow", grpc_encoding="gzip"))
        await begun.wait()
        tracemalloc.start()
        try:
            peer.send(*(data(stream, struct.pack(">BI", 1, len(bomb)) + bomb) for _ in range(50)))
            await peer.barrier()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 8 << 20
