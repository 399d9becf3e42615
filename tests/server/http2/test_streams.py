"""Streams: their end, and how many there may be."""

from typing import Any

import grpc
from http2_peer import (
    CANCEL,
    NO_ERROR,
    REFUSED_STREAM,
    Waiting,
    asynchronous,
    connected,
    data,
    message,
    serving,
    the_connection,
    until,
    window_update,
)
from hyperframe.frame import (
    RstStreamFrame,
)

from modelwire_server.http2.rules import ConnectionRules


@asynchronous
async def test_a_reset_cancels_the_method() -> None:
    waiting = Waiting()
    async with serving(**waiting.methods) as server, connected(server) as peer:
        for count, path in enumerate(["Hold", "Keep"], 1):
            stream = peer.call(path)
            await until(lambda count=count: waiting.begun == count)
            peer.send(RstStreamFrame(stream, CANCEL))
            await until(lambda count=count: waiting.canceled == count)
        assert not server._calls
        assert (await peer.answer(peer.call())).status == 0


@asynchronous
async def test_the_end_of_the_connection_cancels_its_methods() -> None:
    waiting = Waiting()
    async with serving(**waiting.methods) as server:
        async with connected(server) as peer:
            for path in ("Hold", "Keep", "Hold"):
                peer.call(path)
            await until(lambda: waiting.begun == 3)
        await until(lambda: waiting.canceled == 3)
        await until(lambda: not server.has_connections)


@asynchronous
async def test_a_reset_before_the_method_has_begun() -> None:
    waiting = Waiting()
    async with serving(**waiting.methods) as server, connected(server) as peer:
        for _ in range(100):
            stream = peer.call("Hold")
            peer.send(RstStreamFrame(stream, CANCEL))
        assert (await peer.answer(peer.call())).status == 0
        await until(lambda: not server._calls)
        assert waiting.begun == waiting.canceled


@asynchronous
async def test_streams_over_the_limit_are_refused() -> None:
    waiting = Waiting()
    async with serving(ConnectionRules(max_streams=2), **waiting.methods) as server, connected(server) as peer:
        kept, over = [peer.call("Hold", b"kept") for _ in range(2)], [peer.call("Hold") for _ in range(3)]
        for stream in over:
            assert (await peer.answer(stream)).code == REFUSED_STREAM
        waiting.go.set()
        for stream in kept:
            assert (await peer.answer(stream)).messages == [b"kept"]
        assert (await peer.answer(peer.call("Hold"))).status == 0


@asynchronous
async def test_an_answer_before_the_end_of_the_request_ends_the_stream_after_a_moment() -> None:
    async def first(messages: Any, context: Any) -> bytes:
        async for one in messages:
            return bytes(one)
        return b""

    handler = grpc.stream_unary_rpc_method_handler(first)
    async with serving(First=handler) as server, connected(server) as peer:
        stream = peer.open("First", message(b"one"), message(b"two"))
        answer = await peer.answer(stream)
        assert (answer.messages, answer.status, answer.code) == ([b"one"], 0, None)
        peer.send(data(stream, message(b"three")))
        reset = await peer.first(RstStreamFrame)
        assert (reset.stream_id, reset.error_code) == (stream, NO_ERROR)
        assert (await peer.answer(peer.call())).status == 0


@asynchronous
async def test_a_request_that_ends_in_time_is_not_reset() -> None:
    async with serving() as server, connected(server) as peer:
        stream = peer.open("Nothing", message(b"x"))
        assert (await peer.answer(stream)).status == grpc.StatusCode.UNIMPLEMENTED.value[0]
        peer.end(stream)
        await until(lambda: not the_connection(server)._streams)
        assert peer.answers[stream].code is None


@asynchronous
async def test_what_comes_on_a_stream_that_the_server_has_reset_does_not_end_the_connection() -> None:
    """The peer could not know (RFC 9113, section 5.1)."""
    waiting = Waiting()
    async with serving(ConnectionRules(max_streams=1), **waiting.methods) as server, connected(server) as peer:
        kept, over = peer.call("Hold", b"kept"), peer.open("Echo", message(b"hello"))
        peer.send(window_update(over, 10))
        peer.send(peer.headers(over, [("x", "y")], "END_HEADERS", "END_STREAM"), RstStreamFrame(over, CANCEL))
        assert (await peer.answer(over)).code == REFUSED_STREAM
        waiting.go.set()
        assert (await peer.answer(kept)).messages == [b"kept"]
