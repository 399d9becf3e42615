"""Calls that fail, by their method, their request or their caller."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_client import SHAPES, call_failing, channel_to, failing, failure, handler, method
from http2_peer import (
    SERVICE,
    asynchronous,
    connected,
    message,
    request,
    serving,
    unary,
)
from structlog.testing import capture_logs

from modelwire_server.http2.server import ServerRules

_Code = grpc.StatusCode


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
