"""Whatever a peer sends: the server goes on, serves the others, and has no faults of its own."""

import asyncio
from typing import Any

from http2_peer import (
    CANCEL,
    PREFACE,
    Peer,
    asynchronous,
    connected,
    message,
    raw,
    request,
    serving,
    until,
    window_update,
)
from http2_peer import settings as of_the_peer
from hyperframe.frame import DataFrame, RstStreamFrame
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from modelwire_server.http2.keepalive import KeepaliveRules
from modelwire_server.http2.rules import ConnectionRules
from modelwire_server.http2.server import ServerRules

RULES = ServerRules(
    max_message_bytes=1000,
    connection=ConnectionRules(max_streams=4, stream_window=300, max_header_bytes=2000, keepalive=KeepaliveRules(max_strikes=50)),
)

numbers = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 100, 65_535, 2**31 - 1])
four_bytes = numbers.map(lambda number: number.to_bytes(4, "big"))
contents = st.binary(max_size=60) | st.builds(message, st.binary(max_size=400), st.sampled_from([0, 0, 1, 2]))
fields = st.builds(request, st.sampled_from(["Echo", "Count", "Repeat", "Chat", "Chat"])) | st.builds(
    request,
    st.sampled_from(["Echo", "Count", "Repeat", "Chat", "Nothing"]),
    st.tuples(st.sampled_from(["x", "x-bin", "X", ":path", "connection"]), st.text(st.characters(max_codepoint=255), max_size=9)),
    content_type=st.sampled_from(["application/grpc"] * 3 + ["text/plain"]),
    grpc_timeout=st.sampled_from(["1S", "1m", "0n", "never"]),
    grpc_encoding=st.sampled_from(["identity", "gzip", "deflate", "snappy"]),
    content_length=st.sampled_from(["5", "10", "405", "x", "9" * 5000]),
)

# What a peer may say. Streams are told by the place that they have among those that it has opened; None is the connection.
places = st.integers(0, 5)
rules_of_peers = st.fixed_dictionaries(
    {},
    optional={
        "initial_window_size": st.sampled_from([0, 1, 50, 65_535, 1 << 20]),
        "max_frame_size": st.integers(16_384, (1 << 24) - 1),
        "header_table_size": st.integers(0, 1 << 16),
    },
)
Step = tuple[Any, ...]
fair_steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("call"), fields, contents),
    st.tuples(st.just("open"), fields),
    st.tuples(st.just("data"), places, contents, st.sampled_from([(), (), ("END_STREAM",), ("PADDED",), ("PADDED", "END_STREAM")])),
    st.tuples(st.just("data"), places, contents, st.just(())),
    st.tuples(st.just("reset"), places),
    st.tuples(st.just("more"), st.none() | places, st.integers(1, 100_000)),
    st.tuples(st.just("rules"), rules_of_peers),
    st.tuples(
        st.just("raw"), st.sampled_from([raw(6, 0, 0, b"whatever"), raw(7, 0, 0, bytes(8)), raw(2, 0, 9, bytes(5)), raw(99, 1, 1)])
    ),
    st.tuples(st.just("turn"), st.integers(1, 5)),
)

# And what it may not, mostly.
flags = st.sampled_from([0, 0, 1, 4, 5, 8, 0x20, 0x2D]) | st.integers(0, 255)
streams = st.sampled_from([1, 1, 3, 3, 5, 7, 0, 2, 9, 2**31 - 1])
payloads = st.binary(max_size=60) | four_bytes | contents | st.lists(four_bytes.map(lambda value: b"\0\4" + value)).map(b"".join)
broken_steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("raw"), st.builds(raw, st.integers(0, 10), flags, streams, payloads)),
    st.tuples(st.just("raw"), st.binary(max_size=40)),
    st.tuples(st.just("headers"), streams, fields),
)
conversations = st.tuples(
    st.lists(fair_steps, max_size=25), st.lists(broken_steps, max_size=2), st.lists(fair_steps, max_size=5)
).map(lambda parts: [*parts[0], *parts[1], *parts[2]])
FUZZ = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


def perform(peer: Peer, opened: list[int], what: str, *arguments: Any) -> None:
    match what, *arguments:
        case "raw", bytes() as it:
            peer.send(it)
        case "headers", int(stream), its:
            peer.send(peer.headers(stream, its) if stream else b"")
        case "open", its:
            opened.append(peer.open(its))
        case "call", its, content:
            opened.append(peer.open(its, content, end=True))
        case "rules", its:
            peer.send(of_the_peer(**its))
        case "more", None, more:
            peer.send(window_update(0, more))
        case _, int(place), *more if opened:
            on_stream(peer, opened[place % len(opened)], what, *more)


def on_stream(peer: Peer, stream: int, what: str, *arguments: Any) -> None:
    match what, *arguments:
        case "data", content, its:
            peer.send(DataFrame(stream, content, pad_length=9, flags=its))
        case "reset", *_:
            peer.send(RstStreamFrame(stream, CANCEL))
        case "more", more:
            peer.send(window_update(stream, more))


async def converse(peer: Peer, conversation: list[Step]) -> None:
    opened: list[int] = []
    for step in conversation:
        if step[0] == "turn":
            for _ in range(step[1]):
                await asyncio.sleep(0)
        else:
            perform(peer, opened, *step)


def check(talk: Any, *, greet: bool) -> None:
    """`talk` has a connection; another has a call under way meanwhile."""

    @asynchronous
    async def main() -> None:
        async with serving(RULES) as server, connected(server) as other:
            chat = other.open("Chat", message(b"before"))
            async with connected(server, greet=greet) as peer:
                await talk(peer)
                assert (await other.answer(other.call("Echo", b"meanwhile"))).messages == [b"meanwhile"]
            # Nothing is left of the one that is gone.
            await until(lambda: len(server._connections) == len(server._calls) == 1)
            other.send(raw(0, 1, chat, message(b"after")))
            assert (await other.answer(chat)).messages == [b"before", b"after"]

    with capture_logs() as logs:
        main()
    assert [entry for entry in logs if entry["event"] == "a connection fails"] == []


@settings(max_examples=200, **FUZZ)
@given(conversations)
def test_any_frames(conversation: list[Step]) -> None:
    check(lambda peer: converse(peer, conversation), greet=True)


@settings(max_examples=100, **FUZZ)
@given(st.lists(fair_steps, max_size=25))
def test_who_keeps_to_the_rules_stays_connected(conversation: list[Step]) -> None:
    async def talk(peer: Peer) -> None:
        await converse(peer, conversation)
        peer.send(of_the_peer(initial_window_size=1 << 20), window_update(0, 1 << 20))
        await peer.barrier()

    check(talk, greet=True)


@settings(max_examples=40, **FUZZ)
@given(st.lists(st.binary(max_size=100), max_size=5), st.sampled_from([b"", PREFACE, PREFACE + of_the_peer().serialize()]))
@example([b"\xff" * 100], PREFACE)
@example([b"GET / HTTP/1.1\r\n\r\n"], b"")
def test_any_bytes(pieces: list[bytes], beginning: bytes) -> None:
    async def talk(peer: Peer) -> None:
        peer.send(beginning)
        for piece in pieces:
            peer.send(piece)
            await asyncio.sleep(0)

    check(talk, greet=False)
