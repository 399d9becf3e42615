"""Peers that break the rules."""

import pytest
from http2_peer import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Waiting,
    asynchronous,
    connected,
    message,
    raw,
    request,
    serving,
    until,
)

from modelwire_server.http2.rules import ConnectionRules

FAULTS = [
    pytest.param(raw(0, 0, 0, b"x"), PROTOCOL_ERROR, id="DATA of no stream"),
    pytest.param(raw(0, 0, 99, b"x"), PROTOCOL_ERROR, id="DATA of a stream that is not open"),
    pytest.param(raw(0, 8, 1, b""), PROTOCOL_ERROR, id="no length of padding"),
    pytest.param(raw(0, 8, 1, b"\4abc"), PROTOCOL_ERROR, id="more padding than there is"),
    pytest.param(raw(0, 0, 1, length=(1 << 20) + 1), FRAME_SIZE_ERROR, id="a large frame"),
    pytest.param(raw(0xFE, 0, 1, length=(1 << 20) + 1), FRAME_SIZE_ERROR, id="a large frame of an unknown type"),
    pytest.param(raw(6, 0, 0, length=(1 << 20) + 1), FRAME_SIZE_ERROR, id="a large PING"),
    pytest.param(raw(1, 4, 0, b"\x82"), PROTOCOL_ERROR, id="HEADERS of no stream"),
    pytest.param(raw(1, 4, 2, b"\x82"), PROTOCOL_ERROR, id="HEADERS of an even stream"),
    pytest.param(raw(1, 4, 5, b"\x80"), COMPRESSION_ERROR, id="HEADERS that cannot be read"),
    pytest.param(raw(1, 4 | 8, 5, b"\2\x82"), PROTOCOL_ERROR, id="HEADERS with too much padding"),
    pytest.param(raw(1, 4 | 32, 5, b"\0\0\0\0"), FRAME_SIZE_ERROR, id="HEADERS with half a priority"),
    pytest.param(raw(2, 0, 0, bytes(5)), PROTOCOL_ERROR, id="PRIORITY of no stream"),
    pytest.param(raw(3, 0, 1, b"\0\0\0"), FRAME_SIZE_ERROR, id="a short RST_STREAM"),
    pytest.param(raw(3, 0, 0, bytes(4)), PROTOCOL_ERROR, id="RST_STREAM of no stream"),
    pytest.param(raw(3, 0, 99, bytes(4)), PROTOCOL_ERROR, id="RST_STREAM of a stream that is not open"),
    pytest.param(raw(4, 0, 1), PROTOCOL_ERROR, id="SETTINGS of a stream"),
    pytest.param(raw(4, 0, 0, bytes(5)), FRAME_SIZE_ERROR, id="SETTINGS of a strange length"),
    pytest.param(raw(4, 1, 0, bytes(6)), FRAME_SIZE_ERROR, id="an acknowledgement that says something"),
    pytest.param(raw(4, 0, 0, b"\0\2\0\0\0\2"), PROTOCOL_ERROR, id="ENABLE_PUSH of 2"),
    pytest.param(raw(4, 0, 0, b"\0\4\x80\0\0\0"), FLOW_CONTROL_ERROR, id="a first window that is too large"),
    pytest.param(raw(4, 0, 0, b"\0\5\0\0\x3f\xff"), PROTOCOL_ERROR, id="frames that are too small"),
    pytest.param(raw(4, 0, 0, b"\0\5\1\0\0\0"), PROTOCOL_ERROR, id="frames that are too large"),
    pytest.param(raw(5, 4, 1, bytes(8)), PROTOCOL_ERROR, id="PUSH_PROMISE"),
    pytest.param(raw(6, 0, 1, bytes(8)), PROTOCOL_ERROR, id="PING of a stream"),
    pytest.param(raw(6, 0, 0, bytes(7)), FRAME_SIZE_ERROR, id="a short PING"),
    pytest.param(raw(7, 0, 1, bytes(8)), PROTOCOL_ERROR, id="GOAWAY of a stream"),
    pytest.param(raw(8, 0, 0, bytes(3)), FRAME_SIZE_ERROR, id="a short WINDOW_UPDATE"),
    pytest.param(raw(8, 0, 0, bytes(4)), PROTOCOL_ERROR, id="WINDOW_UPDATE of 0"),
    pytest.param(raw(8, 0, 0, b"\x7f\xff\xff\xff"), FLOW_CONTROL_ERROR, id="a window that is too large"),
    pytest.param(raw(8, 0, 99, b"\0\0\0\1"), PROTOCOL_ERROR, id="WINDOW_UPDATE of a stream that is not open"),
    pytest.param(raw(9, 4, 1, b"\x82"), PROTOCOL_ERROR, id="CONTINUATION of nothing"),
    pytest.param(raw(1, 0, 5, b"\x82") + raw(6, 0, 0, bytes(8)), PROTOCOL_ERROR, id="PING within a header block"),
    pytest.param(raw(1, 0, 5, b"\x82") + raw(9, 4, 7, b"\x86"), PROTOCOL_ERROR, id="CONTINUATION of another stream"),
    pytest.param(raw(1, 0, 5, b"\x82") + raw(9, 0, 5, bytes(60_000)) * 5, ENHANCE_YOUR_CALM, id="a header block without end"),
    pytest.param(raw(1, 0, 5, b"\x82") + raw(9, 0, 5) * 8000, ENHANCE_YOUR_CALM, id="a header block of empty pieces"),
]


@pytest.mark.parametrize(("frames", "code"), FAULTS)
@asynchronous
async def test_faults_of_a_peer_end_the_connection(frames: bytes, code: int) -> None:
    """And only that: stream 1 of it is canceled, another connection goes on."""
    waiting = Waiting()
    async with serving(**waiting.methods) as server, connected(server) as other, connected(server) as peer:
        peer.open("Hold", message(b"hello")[:3])
        done = peer.call("Echo")
        await peer.answer(done)
        peer.send(frames)
        farewell = await peer.end_of_connection()
        assert farewell is not None
        assert (farewell.error_code, farewell.last_stream_id) == (code, 3)
        assert farewell.additional_data
        assert (await other.answer(other.call())).status == 0
        await until(lambda: not server._calls)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param(raw(8, 0, 1, bytes(4)), PROTOCOL_ERROR, id="WINDOW_UPDATE of 0"),
        pytest.param(raw(8, 0, 1, b"\x7f\xff\xff\xff"), FLOW_CONTROL_ERROR, id="a window that is too large"),
        pytest.param(raw(2, 0, 1, bytes(4)), FRAME_SIZE_ERROR, id="a short PRIORITY"),
        pytest.param(raw(1, 4, 1, b"\x82"), PROTOCOL_ERROR, id="HEADERS that are neither the first nor the last"),
        pytest.param(raw(0, 1, 1, b"") + raw(0, 0, 1, b"x"), STREAM_CLOSED, id="DATA after the end"),
    ],
)
@asynchronous
async def test_faults_of_one_stream_end_only_that(frames: bytes, code: int) -> None:
    waiting = Waiting()
    async with serving(**waiting.methods) as server, connected(server) as peer:
        stream = peer.open("Hold", message(b"hello"))
        peer.send(frames)
        assert (await peer.answer(stream)).code == code
        await until(lambda: not server._calls)
        assert (await peer.answer(peer.call())).status == 0


@asynchronous
async def test_headers_of_a_stream_that_has_ended_end_the_connection() -> None:
    async with serving() as server, connected(server) as peer:
        stream = peer.call()
        await peer.answer(stream)
        peer.send(peer.headers(stream, request()))
        assert await peer.fault() == STREAM_CLOSED


@asynchronous
async def test_frames_of_headers_are_no_larger_than_others() -> None:
    async with serving(ConnectionRules(max_frame=16_384)) as server, connected(server) as peer:
        block = peer.encoder.encode(request("Echo", ("x", "y" * 20_000)), huffman=False)
        peer.send(raw(1, 4, 1, block))
        assert await peer.fault() == FRAME_SIZE_ERROR


@asynchronous
async def test_headers_that_are_too_large_end_only_their_stream() -> None:
    async with serving(ConnectionRules(max_header_bytes=1_000)) as server, connected(server) as peer:
        assert (await peer.answer(peer.call(request("Echo", ("x", "y" * 600))))).status == 0
        large = peer.call(request("Echo", ("x", "y" * 600), ("z", "y" * 600)))
        assert (await peer.answer(large)).code == ENHANCE_YOUR_CALM
        assert (await peer.answer(peer.call(request("Echo", ("x", "y" * 600))))).status == 0
