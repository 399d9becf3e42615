"""Whatever a peer sends: the server goes on, serves the others, and has no faults of its own."""

import asyncio
from typing import Any

from http2_peer import (
    PREFACE,
    Peer,
    asynchronous,
    connected,
    message,
    raw,
    request,
    serving,
    until,
)
from http2_peer import settings as of_the_peer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from modelwire_server.http2.connection import ConnectionRules
from modelwire_server.http2.keepalive import KeepaliveRules
from modelwire_server.http2.server import ServerRules

RULES = ServerRules(
    max_message_bytes=1000,
    max_concurrent_rpcs=5,
    connection=ConnectionRules(max_streams=4, stream_window=300, max_header_bytes=2000, keepalive=KeepaliveRules(max_strikes=50)),
)

# Mostly a few streams, so that frames meet.
streams = st.sampled_from([1, 1, 3, 3, 5, 7, 0, 2, 9, 2**31 - 1])
flags = st.sampled_from([0, 0, 1, 4, 5, 8, 0x20, 0x2D]) | st.integers(0, 255)
contents = st.binary(max_size=60) | st.builds(message, st.binary(max_size=400), st.sampled_from([0, 0, 1, 2]))
numbers = st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 100, 65_535, 2**31 - 1])
settings_of_peers = st.builds(
    lambda pairs: b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in pairs),
    st.lists(st.tuples(st.integers(0, 8), numbers), max_size=4),
)
fields = st.builds(
    request,
    st.sampled_from(["Echo", "Count", "Repeat", "Chat", "Nothing"]),
    st.tuples(st.sampled_from(["x", "x-bin", "X", ":path", "connection"]), st.text(st.characters(max_codepoint=255), max_size=9)),
    content_type=st.sampled_from(["application/grpc"] * 3 + ["text/plain"]),
    grpc_timeout=st.sampled_from(["1S", "1m", "0n", "never"]),
    grpc_encoding=st.sampled_from(["identity", "gzip", "deflate", "snappy"]),
    content_length=st.sampled_from(["5", "10", "405", "x", "9" * 5000]),
) | st.builds(request, st.sampled_from(["Echo", "Count", "Repeat", "Chat"]))


def frames(kind: int, payloads: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[str, Any]]:
    return st.tuples(st.just("raw"), st.builds(raw, st.just(kind), flags, streams, payloads))


steps = st.one_of(
    st.tuples(st.just("call"), fields, contents),
    st.tuples(st.just("headers"), streams, fields),
    frames(0, contents),
    frames(1, st.binary(max_size=30)),
    frames(2, st.binary(min_size=5, max_size=5)),
    frames(3, numbers.map(lambda number: number.to_bytes(4, "big"))),
    frames(4, settings_of_peers),
    frames(6, st.binary(min_size=8, max_size=8)),
    frames(7, st.binary(min_size=8, max_size=20)),
    frames(8, numbers.map(lambda number: number.to_bytes(4, "big"))),
    frames(9, st.binary(max_size=30)),
    st.tuples(st.just("raw"), st.builds(raw, st.integers(0, 255), flags, streams, st.binary(max_size=20))),
    st.tuples(st.just("raw"), st.binary(max_size=40)),
    st.tuples(st.just("turn"), st.integers(1, 5)),
)
FUZZ = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


def perform(peer: Peer, step: tuple[Any, ...]) -> None:
    what, *arguments = step
    if what == "raw":
        peer.send(arguments[0])
    elif what == "headers":
        stream, its = arguments
        peer.send(peer.headers(stream, its).serialize() if stream else b"")
    else:
        its, content = arguments
        peer.open(its, content, end=True)


async def converse(peer: Peer, conversation: list[tuple[Any, ...]]) -> None:
    for step in conversation:
        if step[0] == "turn":
            for _ in range(step[1]):
                await asyncio.sleep(0)
        else:
            perform(peer, step)


def check(talk: Any, *, greet: bool) -> None:
    """`talk` has a connection; another has a call under way meanwhile."""

    @asynchronous
    async def main() -> None:
        async with serving(RULES) as server, connected(server) as other:
            chat = other.open("Chat", message(b"before"))
            async with connected(server, greet=greet) as peer:
                await talk(peer)
                assert (await other.answer(other.call("Echo", b"meanwhile"))).messages == [b"meanwhile"]
            await until(lambda: len(server._connections) == 1)
            # It has nothing left of the one that is gone.
            assert len(server._calls) == 1
            other.send(raw(0, 1, chat, message(b"after")))
            assert (await other.answer(chat)).messages == [b"before", b"after"]

    with capture_logs() as logs:
        main()
    assert [entry for entry in logs if entry["event"] == "a connection fails"] == []


@settings(max_examples=150, **FUZZ)
@given(st.lists(steps, max_size=25))
def test_any_frames(conversation: list[tuple[Any, ...]]) -> None:
    check(lambda peer: converse(peer, conversation), greet=True)


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
