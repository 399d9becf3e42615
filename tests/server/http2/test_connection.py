"""Connections, as a peer sees them that says every word itself."""

import asyncio
from typing import Any

import grpc
import hpack
import pytest
from http2_peer import (
    CANCEL,
    PREFACE,
    PROTOCOL_ERROR,
    Waiting,
    asynchronous,
    connected,
    data,
    message,
    raw,
    request,
    serving,
    window_update,
)
from http2_peer import settings as of_the_peer
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelwire_server.http2.rules import ConnectionRules

OTHER_WINDOW = 100_000


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
        assert await peer.fault() == PROTOCOL_ERROR


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
