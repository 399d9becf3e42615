"""Connections, as a peer sees them that says every word itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import hpack
import pytest
from http2_peer import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    Peer,
    asynchronous,
    connected,
    data,
    deaf,
    granted,
    message,
    raw,
    request,
    serving,
    serving_narrowly,
    the_connection,
    unary,
    until,
    window_update,
)
from http2_peer import settings as of_the_peer
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelwire_server.http2.keepalive import KeepaliveRules
from modelwire_server.http2.rules import ConnectionRules
from modelwire_server.http2.server import ServerRules

LARGEST_WINDOW = 2**31 - 1
OTHER_WINDOW = 100_000


class Waiting:
    """Methods that wait until the test says so. `begun` and `canceled` count their calls."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = self.canceled = 0

    async def wait(self) -> None:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.canceled += 1
            raise

    async def hold(self, message: bytes, context: Any) -> bytes:
        await self.wait()
        return message

    async def keep(self, messages: Any, context: Any) -> AsyncIterator[bytes]:
        """Answers at the beginning, and reads nothing before it is told to."""
        yield b"begun"
        await self.wait()
        async for one in messages:
            yield one

    @property
    def methods(self) -> dict[str, Any]:
        return {"Hold": unary(self.hold), "Keep": grpc.stream_stream_rpc_method_handler(self.keep)}


# Beginnings


@asynchronous
async def test_the_server_says_its_rules_first() -> None:
    rules = ConnectionRules(max_streams=7, stream_window=OTHER_WINDOW, window=200_000, max_frame=20_000, max_header_bytes=9_000)
    async with serving(rules) as server, connected(server) as peer:
        first = await peer.next()
        assert isinstance(first, SettingsFrame)
        assert first.settings == {
            SettingsFrame.MAX_CONCURRENT_STREAMS: 7,
            SettingsFrame.INITIAL_WINDOW_SIZE: OTHER_WINDOW,
            SettingsFrame.MAX_FRAME_SIZE: 20_000,
            SettingsFrame.MAX_HEADER_LIST_SIZE: 9_000,
        }
        more = await peer.first(WindowUpdateFrame)
        assert (more.stream_id, more.window_increment) == (0, 200_000 - 65_535)
        assert "ACK" in (await peer.first(SettingsFrame)).flags


@asynchronous
async def test_a_call() -> None:
    async with serving() as server, connected(server) as peer:
        answer = await peer.answer(peer.call("Echo", b"hello"))
        assert answer.head == {
            ":status": "200",
            "content-type": "application/grpc",
            "grpc-accept-encoding": "identity,deflate,gzip",
        }
        assert answer.messages == [b"hello"]
        assert answer.trailer == {"grpc-status": "0"}
        assert answer.code is None


@asynchronous
async def test_many_calls_at_once_each_get_their_own_answer() -> None:
    async with serving(ConnectionRules(max_streams=300)) as server, connected(server) as peer:
        streams = [peer.call("Echo", str(number).encode()) for number in range(300)]
        for number, stream in enumerate(streams):
            assert (await peer.answer(stream)).messages == [str(number).encode()]


@pytest.mark.parametrize("piece", [5, 1000], ids="{} bytes at a time".format)
@asynchronous
async def test_a_request_of_http1_is_told_what_this_port_speaks(piece: int) -> None:
    async with serving() as server, connected(server, greet=False) as peer:
        asked = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
        for at in range(0, len(asked), piece):
            peer.send(asked[at : at + piece])
            await asyncio.sleep(0)
        told = await peer.rest()
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert b"gRPC" in body


@pytest.mark.parametrize("seconds", [0, 5])
@asynchronous
async def test_who_speaks_http1_and_stays_does_not_keep_the_server_from_stopping(seconds: float) -> None:
    async with serving() as server, connected(server, greet=False) as peer:
        peer.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await peer.rest()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        async with asyncio.timeout(3):
            await server.stop(seconds)
        assert not server.has_connections


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"\0" * 30, id="zeros"),
        pytest.param(PREFACE[:-2] + b"XX", id="nearly the preface"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", id="another preface"),
    ],
)
@asynchronous
async def test_what_is_not_http2_is_hung_up_on(beginning: bytes) -> None:
    async with serving() as server, connected(server, greet=False) as peer:
        peer.send(beginning)
        assert await peer.end_of_connection() is None


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(PingFrame(0, b"whatever").serialize(), id="PING"),
        pytest.param(raw(0, 1, 1, b"x"), id="DATA"),
        pytest.param(raw(4, 1, 0), id="an acknowledgement"),
    ],
)
@asynchronous
async def test_settings_have_to_come_first(first: bytes) -> None:
    async with serving() as server, connected(server, greet=False) as peer:
        peer.send(PREFACE, first)
        farewell = await peer.end_of_connection()
        assert farewell is not None
        assert farewell.error_code == PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (request(**{":method": "GET"}), "405"),
        (request(**{":method": "OPTIONS"}), "405"),
        (request(content_type="application/json"), "415"),
        ([field for field in request() if field[0] != "content-type"], "415"),
    ],
)
@asynchronous
async def test_requests_that_are_not_of_grpc_are_told_why(fields: list[tuple[str, str]], status: str) -> None:
    async with serving() as server, connected(server) as peer:
        answer = await peer.answer(peer.call(fields, bytes(1000)))
        assert answer.head[":status"] == status
        assert answer.head["content-type"].startswith("text/plain")
        assert b"gRPC" in answer.data
        assert (await peer.answer(peer.call())).status == 0


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"])
@asynchronous
async def test_content_types_of_grpc(content_type: str) -> None:
    async with serving() as server, connected(server) as peer:
        assert (await peer.answer(peer.call(request(content_type=content_type)))).status == 0


# Requests


@asynchronous
async def test_a_malformed_request_ends_only_its_stream() -> None:
    async with serving() as server, connected(server) as peer:
        bad, good = peer.call(request("Echo", ("X", "y"))), peer.call()
        assert (await peer.answer(bad)).code == PROTOCOL_ERROR
        assert (await peer.answer(good)).messages == [b"hello"]


@pytest.mark.parametrize(("length", "code"), [("10", None), ("11", PROTOCOL_ERROR), ("9", PROTOCOL_ERROR), ("0", PROTOCOL_ERROR)])
@asynchronous
async def test_content_length_is_held_against_the_content(length: str, code: int | None) -> None:
    async with serving() as server, connected(server) as peer:
        answer = await peer.answer(peer.call(request(content_length=length), b"hello"))
        assert answer.code == code
        assert answer.messages == ([] if code else [b"hello"])


@asynchronous
async def test_a_content_length_of_thousands_of_digits_ends_only_its_stream() -> None:
    async with serving() as server, connected(server) as peer:
        bad, good = peer.call(request(content_length="9" * 5000)), peer.call()
        assert (await peer.answer(bad)).code == PROTOCOL_ERROR
        assert (await peer.answer(good)).status == 0


@asynchronous
async def test_header_blocks_in_several_frames() -> None:
    async with serving() as server, connected(server) as peer:
        block, stream = peer.encoder.encode(request("Echo", ("x", "y" * 3000))), peer.next_stream()
        pieces = [block[at : at + 100] for at in range(0, len(block), 100)]
        peer.send(HeadersFrame(stream, pieces[0]), *(ContinuationFrame(stream, piece) for piece in pieces[1:]))
        peer.send(ContinuationFrame(stream, flags=["END_HEADERS"]), data(stream, message(b"hello"), "END_STREAM"))
        assert (await peer.answer(stream)).messages == [b"hello"]


@asynchronous
async def test_padding_and_priorities_are_left_out() -> None:
    async with serving() as server, connected(server) as peer:
        stream = peer.next_stream()
        headers = peer.headers(stream, request(), "END_HEADERS", "PADDED", "PRIORITY")
        headers.pad_length, headers.depends_on, headers.stream_weight, headers.exclusive = 200, 0, 255, True
        peer.send(PriorityFrame(stream, depends_on=9, stream_weight=3), PriorityFrame(99, depends_on=0), headers)
        for piece in (message(b"hello")[:3], message(b"hello")[3:], b""):
            peer.send(DataFrame(stream, piece, pad_length=255, flags=["PADDED"]))
        peer.send(DataFrame(stream, b"", pad_length=0, flags=["PADDED", "END_STREAM"]))
        assert (await peer.answer(stream)).messages == [b"hello"]


@asynchronous
async def test_headers_after_the_content_end_a_request() -> None:
    async with serving() as server, connected(server) as peer:
        stream = peer.open("Count", message(b"hello"))
        peer.send(peer.headers(stream, [("x", "y")], "END_HEADERS", "END_STREAM"))
        assert (await peer.answer(stream)).messages == [b"5"]


@asynchronous
async def test_what_nobody_knows_is_ignored() -> None:
    async with serving() as server, connected(server) as peer:
        peer.send(raw(0xA, 0, 0, b"ALTSVC"), raw(0xFE, 0xFF, 77, b"?" * 100), of_the_peer(), raw(4, 0, 0, b"\0\x99\0\0\0\1"))
        assert (await peer.answer(peer.call())).status == 0


# Flow control: what the server sends


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
            farewell = await peer.end_of_connection()
            assert farewell is not None
            assert farewell.error_code == FLOW_CONTROL_ERROR


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


# Flow control: what the server takes


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
        farewell = await peer.end_of_connection()
        assert farewell is not None
        assert farewell.error_code == FLOW_CONTROL_ERROR


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


# Streams


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


# Faults


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
        farewell = await peer.end_of_connection()
        assert farewell is not None
        assert farewell.error_code == STREAM_CLOSED


@asynchronous
async def test_frames_of_headers_are_no_larger_than_others() -> None:
    async with serving(ConnectionRules(max_frame=16_384)) as server, connected(server) as peer:
        block = peer.encoder.encode(request("Echo", ("x", "y" * 20_000)), huffman=False)
        peer.send(raw(1, 4, 1, block))
        farewell = await peer.end_of_connection()
        assert farewell is not None
        assert farewell.error_code == FRAME_SIZE_ERROR


@asynchronous
async def test_headers_that_are_too_large_end_only_their_stream() -> None:
    async with serving(ConnectionRules(max_header_bytes=1_000)) as server, connected(server) as peer:
        assert (await peer.answer(peer.call(request("Echo", ("x", "y" * 600))))).status == 0
        large = peer.call(request("Echo", ("x", "y" * 600), ("z", "y" * 600)))
        assert (await peer.answer(large)).code == ENHANCE_YOUR_CALM
        assert (await peer.answer(peer.call(request("Echo", ("x", "y" * 600))))).status == 0


# Pings


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
    rules = ConnectionRules(keepalive=KeepaliveRules(seconds=0.05, timeout=0.05))
    async with serving(rules) as server, connected(server) as peer:
        for _ in range(5):
            asked = await peer.first(PingFrame)
            peer.send(PingFrame(0, asked.opaque_data, flags=["ACK"]))
        assert (await peer.answer(peer.call())).status == 0


@asynchronous
async def test_a_peer_that_is_not_quiet_is_not_asked() -> None:
    rules = ConnectionRules(keepalive=KeepaliveRules(seconds=0.2, timeout=0.2))
    async with serving(rules) as server, connected(server) as peer:
        loop = asyncio.get_running_loop()
        ends = loop.time() + 0.5
        while loop.time() < ends:
            await peer.answer(peer.call())
        assert not [frame for frame in peer.heard if isinstance(frame, PingFrame)]


@asynchronous
async def test_who_never_says_a_word_is_dropped() -> None:
    rules = ConnectionRules(keepalive=KeepaliveRules(seconds=0.05, timeout=0.05))
    async with serving(rules) as server, connected(server, greet=False) as peer:
        await peer.rest()
        await until(lambda: not server.has_connections)


# Leaving


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


# Peers that do not read


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


# Any cut


def conversation() -> bytes:
    """All shapes of calls, and much beside."""
    encoder, parts = hpack.Encoder(), [PREFACE, of_the_peer(initial_window_size=40, max_frame_size=16_384)]

    def begin(stream: int, path: str, *more: tuple[str, str]) -> list[Any]:
        block = encoder.encode(request(path, *more))
        cut = len(block) // 2
        return [HeadersFrame(stream, block[:cut]), ContinuationFrame(stream, block[cut:], flags=["END_HEADERS"])]

    parts += [*begin(1, "Echo"), data(1, message(b"hello"), "END_STREAM")]
    parts += [*begin(3, "Chat", ("x-bin", "AAE")), data(3, message(b"one") + message(b"two")[:2]), PriorityFrame(3, depends_on=1)]
    parts += [
        PingFrame(0, b"whatever"),
        *begin(5, "Repeat"),
        DataFrame(5, message(b"4 20"), pad_length=7, flags=["PADDED", "END_STREAM"]),
    ]
    parts += [data(3, message(b"two")[2:], "END_STREAM"), window_update(5, 200), raw(0xBE, 1, 3, b"unknown")]
    parts += [
        *begin(7, "Nothing"),
        data(7, message(b""), "END_STREAM"),
        *begin(9, "Echo", ("X", "y")),
        of_the_peer(),
        *begin(11, "Count"),
    ]
    parts += [data(11, message(b"12345")), data(11, b"", "END_STREAM"), *begin(13, "Hold"), data(13, message(b""), "END_STREAM")]
    parts += [RstStreamFrame(13, CANCEL)]
    return b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts)


CONVERSATION = conversation()
cuts = st.lists(st.integers(1, len(CONVERSATION) - 1), max_size=40).map(sorted)


@settings(max_examples=40, deadline=None)
@given(cuts)
@example([])
@example(list(range(1, len(CONVERSATION))))
def test_it_is_all_the_same_how_frames_arrive(places: list[int]) -> None:
    @asynchronous
    async def main() -> None:
        waiting = Waiting()
        async with serving(**waiting.methods) as server, connected(server, greet=False) as peer:
            for begin, end in zip([0, *places], [*places, len(CONVERSATION)], strict=True):
                peer.send(CONVERSATION[begin:end])
                await asyncio.sleep(0)
            answers = {stream: await peer.answer(stream) for stream in (1, 3, 5, 7, 9, 11)}
            await peer.barrier()
        assert [answers[1].messages, answers[3].messages, answers[5].messages] == [[b"hello"], [b"one", b"two"], [bytes(20)] * 4]
        assert [answers[stream].status for stream in (1, 3, 5, 7, 11)] == [0, 0, 0, grpc.StatusCode.UNIMPLEMENTED.value[0], 0]
        assert (answers[9].code, answers[11].messages) == (PROTOCOL_ERROR, [b"5"])
        assert waiting.begun == waiting.canceled
        assert 13 not in peer.answers
        pongs = [frame.opaque_data for frame in peer.heard if isinstance(frame, PingFrame)]
        assert pongs == [b"whatever"]

    main()
