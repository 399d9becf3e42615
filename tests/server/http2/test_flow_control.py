"""Windows, on both sides, as a peer sees them that says every word itself."""

import asyncio
import contextlib
from typing import Any

import grpc
import pytest
from http2_peer import (
    CANCEL,
    FLOW_CONTROL_ERROR,
    LARGEST_WINDOW,
    Peer,
    Waiting,
    asynchronous,
    connected,
    data,
    granted,
    message,
    raw,
    request,
    serving,
    the_connection,
    unary,
    until,
    window_update,
)
from http2_peer import settings as of_the_peer
from hyperframe.frame import (
    DataFrame,
    HeadersFrame,
    RstStreamFrame,
)

from modelwire_server.http2.rules import ConnectionRules
from modelwire_server.http2.server import ServerRules

OTHER_WINDOW = 100_000

# What the server sends


@asynchronous
async def test_an_answer_drips_through_a_tiny_window() -> None:
    async with serving() as server, connected(server, initial_window_size=3) as peer:
        stream = peer.call("Echo", b"0123456789")
        for received in (3, 6, 9, 12):
            await peer.first(DataFrame)
            await peer.barrier()
            assert len(peer.answers[stream].data) == received
            assert not peer.answers[stream].is_over
            peer.send(window_update(stream, 3))
        answer = await peer.answer(stream)
        assert answer.messages == [b"0123456789"]
        assert answer.frames == [3, 3, 3, 3, 3]
        assert answer.status == 0


@asynchronous
async def test_no_window_no_answer() -> None:
    async with serving() as server, connected(server, initial_window_size=0) as peer:
        stream = peer.call("Echo", b"hello")
        await peer.first(HeadersFrame)
        await peer.barrier()
        assert peer.answers[stream].data == b""
        peer.send(window_update(stream, 1000))
        assert (await peer.answer(stream)).messages == [b"hello"]


@asynchronous
async def test_the_window_of_the_connection_holds_for_all_streams() -> None:
    async with serving() as server, connected(server, initial_window_size=1 << 20) as peer:
        streams = [peer.call("Repeat", b"1 50000") for _ in range(3)]
        await peer.first(DataFrame)
        await until_quiet(peer)
        assert sum(len(answer.data) for answer in peer.answers.values()) == 65_535
        peer.send(window_update(0, 1 << 20))
        for stream in streams:
            assert (await peer.answer(stream)).messages == [bytes(50_000)]


async def until_quiet(peer: Peer) -> None:
    """Until nothing more comes."""
    while True:
        heard = sum(isinstance(frame, DataFrame) for frame in peer.heard)
        await peer.barrier()
        if heard == sum(isinstance(frame, DataFrame) for frame in peer.heard):
            return


@asynchronous
async def test_a_window_may_become_negative() -> None:
    async with serving() as server, connected(server, initial_window_size=10) as peer:
        stream = peer.call("Echo", b"0123456789")
        await peer.first(DataFrame)
        peer.send(of_the_peer(initial_window_size=2))  # now -8
        peer.send(window_update(stream, 8))  # now 0
        await peer.barrier()
        assert len(peer.answers[stream].data) == 10
        peer.send(window_update(stream, 1))
        await peer.first(DataFrame)
        await peer.barrier()
        assert len(peer.answers[stream].data) == 11
        peer.send(of_the_peer(initial_window_size=100))
        assert (await peer.answer(stream)).messages == [b"0123456789"]


@pytest.mark.parametrize(("more", "first", "fits"), [(1000, LARGEST_WINDOW - 1000, True), (1000, LARGEST_WINDOW - 999, False)])
@asynchronous
async def test_a_first_window_that_makes_one_of_the_others_too_large_ends_the_connection(more: int, first: int, fits: bool) -> None:
    """RFC 9113, section 6.9.2."""
    waiting = Waiting()
    async with serving(**waiting.methods) as server, connected(server) as peer:
        streams = [peer.call("Hold", b"x") for _ in range(3)]
        peer.send(window_update(streams[1], more), of_the_peer(initial_window_size=first))
        if fits:
            waiting.go.set()
            assert [(await peer.answer(stream)).messages for stream in streams] == [[b"x"]] * 3
        else:
            assert await peer.fault() == FLOW_CONTROL_ERROR


@asynchronous
async def test_windows_of_streams_that_are_over_do_not_count() -> None:
    async with serving() as server, connected(server) as peer:
        stream = peer.open("Echo")
        peer.send(window_update(stream, 1 << 20), RstStreamFrame(stream, CANCEL))
        peer.send(of_the_peer(initial_window_size=LARGEST_WINDOW))
        assert (await peer.answer(peer.call())).status == 0


@asynchronous
async def test_a_larger_first_window_lets_what_waits_go_on() -> None:
    async with serving() as server, connected(server, initial_window_size=0) as peer:
        streams = [peer.call("Echo", b"hello") for _ in range(5)]
        await peer.barrier()
        peer.send(of_the_peer(initial_window_size=1000))
        for stream in streams:
            assert (await peer.answer(stream)).messages == [b"hello"]


@asynchronous
async def test_streams_take_turns() -> None:
    async with serving() as server, connected(server, initial_window_size=1 << 20) as peer:
        long = peer.call("Repeat", b"1 500000")
        await peer.first(DataFrame)
        short = peer.call("Echo", b"hello")
        await until_quiet(peer)
        # Room for two frames: one for each.
        peer.send(window_update(0, 16_384 + 10))
        assert (await peer.answer(short)).messages == [b"hello"]
        assert not peer.answers[long].is_over


@pytest.mark.parametrize("size", [16_384, 30_000, 1 << 20])
@asynchronous
async def test_no_frame_is_larger_than_the_peer_takes(size: int) -> None:
    async with serving() as server, connected(server, max_frame_size=size, initial_window_size=4 << 20) as peer:
        peer.send(window_update(0, 4 << 20))
        answer = await peer.answer(peer.call("Repeat", b"1 3000000"))
        assert answer.messages == [bytes(3_000_000)]
        assert min(size, 100_000) <= max(answer.frames) <= size


@asynchronous
async def test_long_headers_of_an_answer_are_cut() -> None:
    text = "a long story " * 3000

    async def tell(message: bytes, context: Any) -> bytes:
        await context.send_initial_metadata([("x-long", text)])
        context.set_trailing_metadata([("x-long", text)])
        await context.abort(grpc.StatusCode.ABORTED, "that is all")
        return b""

    async with serving(Tell=unary(tell)) as server, connected(server) as peer:
        answer = await peer.answer(peer.call("Tell"))
        assert (answer.head["x-long"], answer.trailer["x-long"]) == (text, text)
        assert (answer.status, answer.trailer["grpc-message"]) == (grpc.StatusCode.ABORTED.value[0], "that is all")


@asynchronous
async def test_a_peer_whose_table_of_headers_is_small_can_read_the_answer() -> None:
    """It may refuse a block that does not say that the table is small (RFC 7541, section 4.2)."""
    async with serving() as server, connected(server, header_table_size=0) as peer:
        peer._decoder.max_allowed_table_size = 0
        await peer.barrier(1)
        assert (await peer.answer(peer.call())).messages == [b"hello"]


@asynchronous
async def test_a_method_that_gives_up_writing_may_write_later() -> None:
    """The window is closed when it writes first, and open when it tries again."""
    gave_up = asyncio.Event()

    async def write(message: bytes, context: Any) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await context.write(b"one")
        gave_up.set()
        await context.write(b"two")

    handler = grpc.unary_stream_rpc_method_handler(write)
    async with serving(Write=handler) as server, connected(server, initial_window_size=0) as peer:
        stream = peer.call("Write")
        await gave_up.wait()
        peer.send(window_update(stream, 1000))
        answer = await peer.answer(stream)
        assert (answer.status, answer.messages) == (0, [b"one", b"two"])


@asynchronous
async def test_what_a_call_could_not_send_is_given_up_at_its_deadline() -> None:
    """Room that comes later, while the caller has not ended its request, is of no use any more."""
    async with serving() as server, connected(server, initial_window_size=0) as peer:
        stream = peer.open(request("Chat", grpc_timeout="50m"), message(b"hello"))
        answer = await peer.answer(stream)
        assert (answer.status, answer.data) == (grpc.StatusCode.DEADLINE_EXCEEDED.value[0], b"")
        peer.send(window_update(0, 1000), of_the_peer(initial_window_size=1000), window_update(stream, 1000))
        assert (await peer.answer(peer.call())).messages == [b"hello"]
        peer.send(window_update(stream, 1000))
        await peer.barrier()
        peer.end(stream)
        await until(lambda: not the_connection(server)._streams)


# What the server takes


@asynchronous
async def test_a_method_that_does_not_read_holds_its_caller_back() -> None:
    waiting = Waiting()
    rules = ConnectionRules(stream_window=OTHER_WINDOW)
    async with serving(rules, **waiting.methods) as server, connected(server, initial_window_size=1 << 20) as peer:
        peer.send(window_update(0, 1 << 20))
        stream = peer.open("Keep")
        await peer.first(DataFrame)
        pieces = [message(bytes(9_995)) for _ in range(10)]
        peer.send(*(data(stream, piece) for piece in pieces))
        await peer.barrier()
        assert not granted(peer, stream)
        waiting.go.set()
        await until_granted(peer, stream, OTHER_WINDOW // 2)
        peer.send(*(data(stream, piece) for piece in pieces[:5]))
        peer.end(stream)
        assert len((await peer.answer(stream)).messages) == 16


async def until_granted(peer: Peer, stream: int, size: int) -> None:
    while granted(peer, stream) < size:
        await peer.next()


@asynchronous
async def test_what_is_sent_beyond_the_window_ends_the_stream() -> None:
    waiting = Waiting()
    async with serving(ConnectionRules(stream_window=OTHER_WINDOW), **waiting.methods) as server, connected(server) as peer:
        stream = peer.open("Keep")
        peer.send(*(data(stream, bytes(10_000)) for _ in range(10)))
        await peer.barrier()
        assert not peer.answers[stream].is_over
        peer.send(data(stream, b"x"))
        assert (await peer.answer(stream)).code == FLOW_CONTROL_ERROR
        await until(lambda: waiting.canceled)
        assert (await peer.answer(peer.call())).status == 0


@asynchronous
async def test_what_is_sent_beyond_the_window_of_the_connection_ends_it() -> None:
    async with serving(ConnectionRules(window=1 << 20)) as server, connected(server) as peer:
        stream = peer.open("Count")
        peer.send(data(stream, message(bytes(500_000))), raw(0, 0, stream, length=1 << 20))
        assert await peer.fault() == FLOW_CONTROL_ERROR


@asynchronous
async def test_what_a_stream_does_not_read_leaves_room_for_the_others() -> None:
    waiting = Waiting()
    rules = ConnectionRules(window=1 << 20, stream_window=1 << 20)
    async with serving(rules, **waiting.methods) as server, connected(server) as peer:
        for _ in range(3):
            stream = peer.open("Keep")
            peer.send(*(data(stream, bytes(1 << 18)) for _ in range(4)))
        await peer.barrier()
        assert granted(peer, 0) >= 3 << 20
        assert (await peer.answer(peer.call())).status == 0


@asynchronous
async def test_a_message_larger_than_the_window_gets_through() -> None:
    rules = ServerRules(max_message_bytes=1 << 20, connection=ConnectionRules(stream_window=10_000))
    async with serving(rules) as server, connected(server, initial_window_size=2 << 20) as peer:
        peer.send(window_update(0, 2 << 20))
        for path in ("Echo", "Chat"):
            stream, whole, at = peer.open(path), message(b"x" * 500_000), 0
            while at < len(whole):
                room = 10_000 + granted(peer, stream) - at
                peer.send(data(stream, whole[at : at + room]))
                at += room
                if at < len(whole):
                    await until_granted(peer, stream, at - 10_000 + 1)
            peer.end(stream)
            assert (await peer.answer(stream)).messages == [b"x" * 500_000]


@asynchronous
async def test_messages_without_content_count_as_well() -> None:
    """A caller must not be able to have any number of them wait."""
    read, window = 0, 1000
    go = asyncio.Event()

    async def one_at_a_time(messages: Any, context: Any) -> bytes:
        nonlocal read
        async for _ in messages:
            read += 1
            if read == 10:
                await go.wait()
        return b""

    slow = grpc.stream_unary_rpc_method_handler(one_at_a_time)
    async with serving(ConnectionRules(stream_window=window), Slow=slow) as server, connected(server) as peer:
        stream, sent = peer.open("Slow"), 0
        while sent <= 10 * window and sent < window + granted(peer, stream):
            room = (window + granted(peer, stream) - sent) // 5
            peer.send(data(stream, message(b"") * room))
            sent += 5 * room
            await peer.barrier()
        assert read == 10
        assert sent <= window + 5 * read + window // 2
        go.set()


@asynchronous
async def test_a_second_message_of_a_call_that_takes_one_is_not_kept() -> None:
    """Else a caller fills the memory by never coming to an end."""
    rules = ServerRules(max_message_bytes=10_000, connection=ConnectionRules(stream_window=10_000))
    async with serving(rules) as server, connected(server) as peer:
        stream, sent = peer.open("Echo"), 0
        while sent < 500_000 and not peer.answers.get(stream):
            room = min(10_000 + granted(peer, stream) - sent, 5_000)
            peer.send(data(stream, message(bytes(room - 5))) if room > 5 else b"")
            sent += room if room > 5 else 0
            await peer.barrier()
        assert sent <= 30_000
        assert (await peer.answer(stream)).status == grpc.StatusCode.INTERNAL.value[0]


@asynchronous
async def test_content_of_streams_that_are_over_does_not_use_up_the_window() -> None:
    async with serving(ConnectionRules(window=1 << 20)) as server, connected(server) as peer:
        stream = peer.open("Echo")
        peer.send(RstStreamFrame(stream, CANCEL))
        for _ in range(8):
            peer.send(*(data(stream, bytes(16_384)) for _ in range(20)))
            await peer.barrier()
        assert granted(peer, 0) > 2 << 20
        assert (await peer.answer(peer.call())).status == 0
