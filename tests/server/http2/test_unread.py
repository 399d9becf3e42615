"""Peers that do not read."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from http2_peer import (
    CANCEL,
    LARGEST_WINDOW,
    asynchronous,
    deaf,
    raw,
    serving_narrowly,
    the_connection,
    until,
    window_update,
)
from http2_peer import settings as of_the_peer
from hyperframe.frame import (
    RstStreamFrame,
)

from modelwire_server.http2.server import ServerRules


@asynchronous
async def test_a_stream_that_nobody_reads_holds_its_method_back() -> None:
    written = 0

    async def flood(message: bytes, context: Any) -> AsyncIterator[bytes]:
        nonlocal written
        while True:
            written += 1 << 10
            yield bytes(1 << 10)

    handler = grpc.unary_stream_rpc_method_handler(flood)
    async with serving_narrowly(ServerRules(), Flood=handler) as server, deaf(server) as peer:
        peer.send(of_the_peer(initial_window_size=LARGEST_WINDOW), window_update(0, 1 << 30))
        peer.call("Flood")
        before = -1
        while before != written or not written:
            before = written
            await asyncio.sleep(0.02)
        assert written < 1 << 20


def settings_again(turn: int) -> bytes:
    return raw(4, 0, 0) * 100


def data_of_no_use(turn: int) -> bytes:
    return raw(0, 0, 1, b"x") * 100


def malformed_requests(turn: int) -> bytes:
    """They have a method and nothing else."""
    return b"".join(raw(1, 5, stream, b"\x83") for stream in range(3 + 200 * turn, 203 + 200 * turn, 2))


def unknown_methods(turn: int) -> bytes:
    """Their path is long, but only the first tells it; the answers tell it again and again."""
    known = b"\x83\x86\xbf\xbe"
    new = b"\x83\x86\x44\x7f\xed\x1d/" + b"\xfc" * 3947 + b"\x5f\x10application/grpc"
    streams = range(3 + 200 * turn, 203 + 200 * turn, 2)
    return b"".join(raw(1, 5, stream, new if stream == 3 else known) for stream in streams)


@pytest.mark.parametrize(
    ("ask", "allowed"),
    [(settings_again, 3 << 19), (data_of_no_use, 3 << 19), (malformed_requests, 3 << 19), (unknown_methods, 8 << 20)],
)
@asynchronous
async def test_what_a_peer_is_to_be_told_and_does_not_read_cannot_fill_the_memory(
    ask: Callable[[int], bytes], allowed: int
) -> None:
    """It is cut off, or not read any more. Unlimited, the answers would take much more than is allowed."""
    async with serving_narrowly(ServerRules()) as server, deaf(server) as peer:
        peer.send(raw(1, 4, 1, b"\x82"), RstStreamFrame(1, CANCEL))
        await until(lambda: server.has_connections)
        connection = the_connection(server)
        for turn in range(2000):
            peer.send(ask(turn))
            await asyncio.sleep(0)
            if not server.has_connections:
                break
            assert connection._transport.get_write_buffer_size() <= allowed
