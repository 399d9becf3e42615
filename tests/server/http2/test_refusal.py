"""Calls that find too many before them, to the letter of the protocol."""

import asyncio
import gc
import tracemalloc

import grpc
import pytest
from http2_peer import (
    CANCEL,
    REFUSED_STREAM,
    STREAM_CLOSED,
    Peer,
    asynchronous,
    connected,
    data,
    granted,
    message,
    raw,
    request,
    serving,
    the_connection,
    until,
)
from hyperframe.frame import GoAwayFrame, RstStreamFrame

from modelwire_server.http2.calls import Refused
from modelwire_server.http2.rules import ConnectionRules
from modelwire_server.http2.server import ServerRules

FULL = Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", (("x-why-bin", b"\0\1"),))
NONE = ServerRules(max_pending=0, busy=FULL)


def whole(peer: Peer, content: bytes = b"hello") -> tuple[int, bytes]:
    """A request of one frame of HEADERS and one of DATA."""
    stream = peer.next_stream()
    frames = peer.headers(stream, request(grpc_timeout=f"{stream}m")), data(stream, message(content), "END_STREAM")
    return stream, b"".join(frame.serialize() for frame in frames)


async def refused(peer: Peer, stream: int) -> bool:
    """Whether a call is, and is told why."""
    answer = await peer.answer(stream)
    told = {
        name: answer.trailer[name] for name in (":status", "grpc-status", "grpc-message", "x-why-bin") if name in answer.trailer
    }
    return told == {":status": "200", "grpc-status": "8", "grpc-message": "full", "x-why-bin": "AAE"} and answer.code is None


@asynchronous
async def test_each_is_told_why() -> None:
    async with serving(NONE) as server, connected(server) as peer:
        calls = dict(whole(peer) for _ in range(1000))
        peer.send(*calls.values())
        assert all([await refused(peer, stream) for stream in calls])
        assert not the_connection(server)._streams


@pytest.mark.parametrize("cut", [1, 9, 12, 60, -15, -10, -1])
@asynchronous
async def test_whatever_part_of_the_request_comes_later(cut: int) -> None:
    async with serving(NONE) as server, connected(server) as peer:
        stream, frames = whole(peer)
        peer.send(frames[:cut])
        await peer.sent()
        await until(lambda: server.has_connections)
        peer.send(frames[cut:])
        assert await refused(peer, stream)
        await until(lambda: not the_connection(server)._streams)


@asynchronous
async def test_a_request_that_does_not_end_is_refused_after_a_moment() -> None:
    async with serving(NONE) as server, connected(server) as peer:
        stream = peer.open("Echo", message(b"hello"))
        assert await refused(peer, stream)
        peer.end(stream)
        await until(lambda: not the_connection(server)._streams)
        assert peer.answers[stream].code is None


@asynchronous
async def test_the_caller_may_give_up_first() -> None:
    async with serving(NONE) as server, connected(server) as peer:
        stream = peer.open("Echo", message(b"hello"))
        peer.send(RstStreamFrame(stream, CANCEL))
        later, frames = whole(peer)
        peer.send(frames, RstStreamFrame(later, CANCEL))
        await peer.barrier()
        assert stream not in peer.answers
        assert await refused(peer, later)


@asynchronous
async def test_what_comes_on_it_later_does_no_harm_to_others() -> None:
    async with serving(NONE) as server, connected(server) as peer:
        stream, frames = whole(peer)
        peer.send(frames)
        assert await refused(peer, stream)
        peer.send(data(stream, b"more"))
        reset = await peer.first(RstStreamFrame)
        assert (reset.stream_id, reset.error_code) == (stream, STREAM_CLOSED)
        later, frames = whole(peer)
        peer.send(frames)
        assert await refused(peer, later)


@asynchronous
async def test_its_number_is_not_used_again() -> None:
    async with serving(NONE) as server, connected(server) as peer:
        (first, frames), (second, others) = whole(peer), whole(peer)
        peer.send(frames, others)
        assert await refused(peer, first)
        assert await refused(peer, second)
        peer.send(raw(1, 5, first, b"\x82"))
        farewell = await peer.end_of_connection()
        assert farewell is not None
        assert (farewell.error_code, farewell.last_stream_id) == (STREAM_CLOSED, second)


@asynchronous
async def test_its_content_does_not_use_up_the_window() -> None:
    async with serving(ServerRules(max_pending=0, connection=ConnectionRules(window=1 << 20))) as server, connected(server) as peer:
        for _ in range(40):
            calls = dict(whole(peer, bytes(50_000)) for _ in range(4))
            peer.send(*calls.values())
            for stream in calls:
                await peer.answer(stream)
        assert granted(peer, 0) > 7 << 20


@asynchronous
async def test_nothing_of_it_is_kept() -> None:
    async with serving(NONE) as server, connected(server) as peer:
        kept = []
        for _ in range(3):
            calls = dict(whole(peer, bytes(5000)) for _ in range(500))
            peer.send(*calls.values())
            assert all([await refused(peer, stream) for stream in calls])
            calls.clear()
            peer.answers.clear()
            peer.heard.clear()
            gc.collect()
            if not kept:
                tracemalloc.start()
            kept.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert max(kept) < 500_000


@asynchronous
async def test_those_that_find_room_are_answered_and_so_are_all_later() -> None:
    async with serving(ServerRules(max_pending=3, busy=FULL)) as server, connected(server) as peer:
        calls = dict(whole(peer) for _ in range(10))
        peer.send(b"".join(calls.values()))
        answers = [await peer.answer(stream) for stream in calls]
        assert [answer.messages for answer in answers] == [[b"hello"]] * 3 + [[]] * 7
        assert [answer.status for answer in answers] == [0] * 3 + [8] * 7
        for _ in range(10):
            later, frames = whole(peer)
            peer.send(frames)
            assert (await peer.answer(later)).messages == [b"hello"]


@asynchronous
async def test_a_server_that_leaves_tells_the_last_that_it_refused() -> None:
    async with serving(NONE) as server, connected(server) as peer:
        stream, frames = whole(peer)
        peer.send(frames)
        assert await refused(peer, stream)
        server.leave()
        late, frames = whole(peer)
        peer.send(frames)
        await peer.leaving()
        assert await refused(peer, late)
        farewell = await peer.first(GoAwayFrame, lambda frame: frame.last_stream_id < 1 << 30)
        assert farewell.last_stream_id == late
        await peer.end_of_connection()


@asynchronous
async def test_callers_that_send_all_headers_first_get_no_more_in() -> None:
    """As clients do that have more to send than they can."""
    async with serving(ServerRules(max_pending=3, busy=FULL)) as server, connected(server) as peer:
        streams = [peer.open() for _ in range(20)]
        peer.send(*(data(stream, message(b"hello"), "END_STREAM") for stream in streams))
        answers = [await peer.answer(stream) for stream in streams]
        assert sorted(answer.status for answer in answers) == [0] * 3 + [8] * 17
        assert (await peer.answer(peer.call())).status == 0


@asynchronous
async def test_callers_that_never_send_the_rest_keep_no_others_out() -> None:
    async with serving(ServerRules(max_pending=3, busy=FULL)) as server, connected(server) as peer, connected(server) as other:
        for _ in range(3):
            peer.open()
        await peer.barrier()
        assert (await other.answer(other.call())).status == 8
        await asyncio.sleep(0.15)
        assert (await other.answer(other.call())).status == 0


@asynchronous
async def test_refused_requests_that_have_not_ended_count_as_open() -> None:
    rules = ServerRules(max_pending=0, busy=FULL, connection=ConnectionRules(max_streams=5))
    async with serving(rules) as server, connected(server) as peer:
        streams = [peer.open() for _ in range(6)]
        assert (await peer.answer(streams[5])).code == REFUSED_STREAM
        for stream in streams[:5]:
            peer.send(data(stream, b"x" * 100))
            peer.end(stream)
            assert await refused(peer, stream)
        assert not the_connection(server)._streams


@asynchronous
async def test_a_refused_request_may_end_by_headers() -> None:
    async with serving(NONE) as server, connected(server) as peer:
        stream, whole_in_headers = peer.open("Echo", message(b"hello")), peer.next_stream()
        peer.send(peer.headers(stream, [("x", "y")], "END_HEADERS", "END_STREAM"))
        peer.send(peer.headers(whole_in_headers, request(), "END_HEADERS", "END_STREAM"))
        assert await refused(peer, stream)
        assert await refused(peer, whole_in_headers)
