"""What is kept of calls: nothing, when they are over."""

import asyncio
import contextlib
import gc
import gzip
import struct
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import grpc
from grpc_client import SHAPES, channel_to, failing, handler, method
from http2_peer import (
    CANCEL,
    Peer,
    asynchronous,
    connected,
    data,
    message,
    request,
    serving,
    the_connection,
    until,
)
from hyperframe.frame import RstStreamFrame
from structlog.testing import capture_logs

from modelwire_server.http2.rules import ConnectionRules
from modelwire_server.http2.server import ServerRules

_Code = grpc.StatusCode


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
async def test_a_message_is_not_kept_beside_what_it_says() -> None:
    """As long as the method runs, a large one would be there twice."""
    size, held = 1 << 20, []

    async def weigh(length: int, context: Any) -> bytes:
        held.append(tracemalloc.get_traced_memory()[0])
        return str(length).encode()

    weighing = grpc.unary_unary_rpc_method_handler(weigh, request_deserializer=len)
    async with serving(Weigh=weighing) as server, connected(server) as peer:
        await peer.answer(peer.call("Weigh"))
        tracemalloc.start()
        try:
            whole = message(bytes(size))
            stream = peer.open("Weigh", *(whole[at : at + 16_384] for at in range(0, len(whole), 16_384)), end=True)
            del whole
            assert (await peer.answer(stream)).messages == [str(size).encode()]
        finally:
            tracemalloc.stop()
    assert held[-1] < size // 2


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
