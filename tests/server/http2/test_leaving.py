"""Connections that come to their end."""

import asyncio
import contextlib

import pytest
from http2_peer import (
    CANCEL,
    LARGEST_WINDOW,
    NO_ERROR,
    Waiting,
    asynchronous,
    connected,
    serving,
    until,
    window_update,
)
from hyperframe.frame import (
    GoAwayFrame,
    RstStreamFrame,
    SettingsFrame,
)

from modelwire_server.http2.server import ServerRules


@asynchronous
async def test_what_a_peer_opens_before_it_knows_is_still_served() -> None:
    waiting = Waiting()
    async with serving(**waiting.methods) as server, connected(server) as peer:
        before = peer.call("Hold", b"before")
        await peer.barrier()
        server.leave()
        meanwhile = peer.call("Hold", b"meanwhile")
        farewell = await peer.first(GoAwayFrame)
        assert (farewell.error_code, farewell.last_stream_id) == (NO_ERROR, LARGEST_WINDOW)
        await peer.leaving()
        farewell = await peer.first(GoAwayFrame)
        assert (farewell.error_code, farewell.last_stream_id) == (NO_ERROR, meanwhile)
        waiting.go.set()
        for stream, content in ((before, b"before"), (meanwhile, b"meanwhile")):
            assert (await peer.answer(stream)).messages == [content]
        await peer.end_of_connection()
        await until(lambda: not server.has_connections)


@asynchronous
async def test_what_is_opened_too_late_is_ignored_and_the_others_go_on() -> None:
    """The peer is told by GOAWAY what was not taken up (RFC 9113, section 6.8); what it had sent already does no harm."""
    waiting = Waiting()
    async with serving(**waiting.methods) as server, connected(server) as peer:
        before = peer.call("Hold", b"before")
        await peer.barrier()
        server.leave()
        await peer.leaving()
        late = peer.call("Hold", b"late")
        peer.send(window_update(late, 10), RstStreamFrame(late, CANCEL))
        farewell = await peer.first(GoAwayFrame)
        assert (farewell.error_code, farewell.last_stream_id) == (NO_ERROR, before)
        await peer.barrier()
        waiting.go.set()
        assert (await peer.answer(before)).messages == [b"before"]
        assert late not in peer.answers or not peer.answers[late].blocks
        await peer.end_of_connection()


@asynchronous
async def test_a_peer_that_does_not_say_that_it_knows_is_given_a_moment() -> None:
    async with serving() as server, connected(server) as peer:
        await peer.barrier()
        server.leave()
        await peer.first(GoAwayFrame)
        assert (await peer.answer(peer.call())).status == 0
        farewell = await peer.first(GoAwayFrame)
        assert farewell.last_stream_id == 1
        await peer.end_of_connection()


@asynchronous
async def test_nobody_can_connect_to_a_server_that_leaves() -> None:
    async with serving() as server:
        port = server.port
        async with connected(server) as peer:
            await peer.barrier()
            server.leave()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            await peer.leaving()
            await peer.end_of_connection()


@asynchronous
async def test_a_peer_that_has_not_said_anything_is_told_the_settings_first() -> None:
    """They have to be the first that a server says (RFC 9113, section 3.4)."""
    async with serving() as server, connected(server, greet=False) as peer:
        await until(lambda: server.has_connections)
        server.leave()
        await asyncio.sleep(0)
        peer.greet()
        assert isinstance(await peer.next(), SettingsFrame)


@pytest.mark.parametrize("turns", range(8))
@asynchronous
async def test_no_connection_outlives_the_server(turns: int) -> None:
    """Not one either that comes in that very moment."""
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.stop(0)
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@asynchronous
async def test_connections_reach_their_age() -> None:
    rules = ServerRules(max_connection_age=0.1, max_connection_age_grace=0.2)
    waiting = Waiting()
    async with serving(rules, **waiting.methods) as server, connected(server) as peer:
        peer.call("Hold")
        farewell = await peer.first(GoAwayFrame)
        assert farewell.error_code == NO_ERROR
        await peer.end_of_connection()
        await until(lambda: waiting.canceled == 1)
