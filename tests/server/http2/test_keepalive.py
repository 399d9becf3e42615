"""Whether the other side is still there."""

import asyncio

from http2_peer import (
    ENHANCE_YOUR_CALM,
    Waiting,
    asynchronous,
    connected,
    serving,
    until,
    window_update,
)
from hyperframe.frame import (
    PingFrame,
)

from modelwire_server.http2.frames import LARGEST_WINDOW
from modelwire_server.http2.keepalive import KeepaliveRules
from modelwire_server.http2.rules import ConnectionRules


@asynchronous
async def test_pings_are_answered() -> None:
    async with serving() as server, connected(server) as peer:
        peer.send(PingFrame(0, b"12345678"))
        pong = await peer.first(PingFrame)
        assert (pong.opaque_data, set(pong.flags)) == (b"12345678", {"ACK"})


@asynchronous
async def test_too_many_pings() -> None:
    async with serving() as server, connected(server) as peer:
        peer.send(*(PingFrame(0, bytes(8)) for _ in range(4)))
        farewell = await peer.end_of_connection()
        assert farewell is not None
        assert (farewell.error_code, farewell.additional_data) == (ENHANCE_YOUR_CALM, b"too_many_pings")


@asynchronous
async def test_pings_between_answers_are_fine() -> None:
    async with serving() as server, connected(server) as peer:
        for _ in range(20):
            await peer.pong()
            await peer.answer(peer.call())
        peer.send(*(PingFrame(0, bytes(8), flags=["ACK"]) for _ in range(20)))
        assert (await peer.answer(peer.call())).status == 0


@asynchronous
async def test_pings_as_often_as_allowed_are_fine() -> None:
    rules = ConnectionRules(keepalive=KeepaliveRules(min_interval=0.0))
    async with serving(rules) as server, connected(server) as peer:
        for _ in range(20):
            await peer.pong()


@asynchronous
async def test_a_peer_that_does_not_say_whether_it_is_there_is_dropped() -> None:
    rules = ConnectionRules(keepalive=KeepaliveRules(seconds=0.1, timeout=0.1))
    waiting = Waiting()
    async with serving(rules, **waiting.methods) as server, connected(server) as peer:
        peer.call("Hold")
        asked = await peer.first(PingFrame)
        assert "ACK" not in asked.flags
        await peer.end_of_connection()
        await until(lambda: waiting.canceled == 1 and not server.has_connections)


@asynchronous
async def test_a_peer_that_says_that_it_is_there_stays() -> None:
    rules = ConnectionRules(keepalive=KeepaliveRules(seconds=0.05, timeout=1.0))
    async with serving(rules) as server, connected(server) as peer:
        for _ in range(3):
            asked = await peer.first(PingFrame)
            peer.send(PingFrame(0, asked.opaque_data, flags=["ACK"]))
        assert (await peer.answer(peer.call())).status == 0


@asynchronous
async def test_a_peer_that_is_not_quiet_is_not_asked() -> None:
    rules = ConnectionRules(keepalive=KeepaliveRules(seconds=0.5, timeout=0.5))
    async with serving(rules) as server, connected(server) as peer:
        peer.send(window_update(0, LARGEST_WINDOW >> 1))  # thousands are answered
        loop = asyncio.get_running_loop()
        ends = loop.time() + 1.2
        while loop.time() < ends:
            await peer.answer(peer.call())
        assert not [frame for frame in peer.heard if isinstance(frame, PingFrame)]


@asynchronous
async def test_who_never_says_a_word_is_dropped() -> None:
    rules = ConnectionRules(keepalive=KeepaliveRules(seconds=0.05, timeout=0.05))
    async with serving(rules) as server, connected(server, greet=False) as peer:
        await peer.rest()
        await until(lambda: not server.has_connections)
